"""Search for the fastest layout on this machine; it is cached, so that the same command adds up in the same order."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from importlib.metadata import version
from itertools import chain
from math import inf
from typing import Any

from vitrun.engine.layout import Layout
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.machine import describe_instructions
from vitrun.runtime.process import hold_folder
from vitrun.runtime.user_cache import load_values, store_values, user_cache_folder

CACHE_FILE = "layouts.json"
LOCKED_FOLDER = "layouts"  # beside it: one process measures at a time, so that the next one takes what it found
LIBRARIES = ("vitrun", "torch", "timm")  # with whose versions a layout is measured anew
SHARE = 0.02  # of the expected time of a run, the most that is measured
MOST_SECONDS = 10.0
LEAST_SECONDS = 2.0  # in less no two layouts can be told apart
LAYOUT_SECONDS = 0.5  # of all passes of a layout, the first of which prepares the kernels of its shapes
CLOSE = 1.5  # times the seconds of the fastest layout, in which others are timed again: a first pass takes up to that
TIMES = 3  # that a layout is timed at the most
FIRST_SHARE = 0.002  # of the images of a run, the most that are computed to know its expected time


def cache_key(machine: Machine, *facts: Any) -> str:
    """Return the key of a measurement: processor, cores, precision, ranks, versions, and what is computed."""
    computing = [describe_instructions(), machine.cores, str(machine.dtype), distributed.world_size()]
    identity = json.dumps([computing, [version(library) for library in LIBRARIES], facts], default=repr)
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def load_layout(key: str) -> Layout | None:
    """Return the cached layout of a key on all ranks, that of rank 0; None if it was not measured."""

    def load() -> Layout | None:
        facts = load_values(CACHE_FILE).get(key)
        return Layout.parse(facts) if isinstance(facts, dict) else None

    return distributed.call_on_rank_zero(load)


def measure_once(key: str, measure: Callable[[], Layout | None], log: Callable[[str], None]) -> Layout | None:
    """Return the cached layout of a key, which is logged, or else what ``measure`` returns, which is cached.

    A process waits while another one measures.
    """
    folder, measured = user_cache_folder() / LOCKED_FOLDER, None
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    with nullcontext() if distributed.rank() else hold_folder(folder):
        cached = load_layout(key)
        if cached is None and (measured := measure()) is not None and not distributed.rank():
            store_values(CACHE_FILE, {key: measured.describe()})
    if cached is not None:
        log(f"layout: {cached}, as measured before")
    return measured or cached


class Clock:
    """Times passes of layouts, and sums up the seconds that they take."""

    def __init__(self, time_pass: Callable[[Layout, int], float]):
        self.time_pass = time_pass  # (layout, images) -> seconds, infinite if the memory does not suffice
        self.spent = 0.0

    def time(self, layout: Layout, images: int, seconds: float = 0.0) -> float:
        """Return the seconds per image of the fastest pass, on the slowest rank; repeat passes for some ``seconds``."""
        fastest, total = inf, 0.0
        while total <= seconds:
            this = max(distributed.all_gather_object(self.time_pass(layout, images)))
            fastest, total = min(fastest, this), total + this
        self.spent += total
        return fastest / images


def find_fastest(
    start: Layout, neighbours: Callable[[Layout], Iterable[Layout]], clock: Clock, images: int, most: int
) -> dict[Layout, float] | None:
    """Return the seconds per image of the layouts that were timed; None if a run of ``images`` is too short for that.

    Neighbours of the fastest layout so far are timed until none is faster; then those that are about as fast are timed
    again, since their kernels had to be prepared or other processes disturbed them, as long as there is time. A form of
    attention that is much slower in one layout is not timed in others. A pass has ``most`` images at the most, unless a
    layout computes more at once.
    """
    if start.at_once > FIRST_SHARE * images:
        return None
    first = clock.time(start, start.at_once)
    budget = min(MOST_SECONDS, SHARE * first * images)
    if budget < LEAST_SECONDS:
        return None
    timed, times = {start: first}, Counter({start: int(first * start.at_once >= LAYOUT_SECONDS)})
    while (left := budget - clock.spent) >= 2 * LAYOUT_SECONDS:
        fastest = min(timed, key=lambda layout: timed[layout])
        slow_forms = {form for form in (True, False) if form_seconds(timed, form) > CLOSE * timed[fastest]}
        untimed = (one for one in neighbours(fastest) if one not in timed and one.fused not in slow_forms)
        close = (one for one in timed if timed[one] <= CLOSE * timed[fastest] and times[one] < TIMES)
        again = sorted(close, key=lambda layout: (times[layout], timed[layout]))
        candidates = chain([start] * (not times[start]), untimed, again)
        slow = 2 * timed[fastest]  # seconds per image that are allowed for
        candidate = next((layout for layout in candidates if layout.at_once * slow <= left), None)
        if candidate is None:
            break
        seconds = clock.time(candidate, size_pass(candidate, timed[fastest], most), LAYOUT_SECONDS)
        timed[candidate] = min(seconds, timed.get(candidate, inf)) if times[candidate] else seconds
        times[candidate] += 1
    return timed


def form_seconds(timed: dict[Layout, float], fused: bool) -> float:
    """Return the seconds per image of the fastest timed layout with a form of attention; 0 if none was timed."""
    return min((seconds for layout, seconds in timed.items() if layout.fused == fused), default=0.0)


def size_pass(layout: Layout, seconds_an_image: float, most: int) -> int:
    """Return the images of a pass: all workers compute as often as half of ``LAYOUT_SECONDS`` allows, at least once."""
    return layout.at_once * max(1, min(int(LAYOUT_SECONDS / 2 / seconds_an_image), most) // layout.at_once)
