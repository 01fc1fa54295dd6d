"""Signs of life of all ranks, by which a rank that waits for too long finds out which of the others is lost.

Collectives do not say for whom they wait, and NCCL's do not end if a rank is killed. So a thread of each rank writes
what the rank is doing to the store of torch.distributed every few seconds. A rank is lost if it is silent, as one that
is killed or stopped, or if it stays in one step of training while the others wait. Work outside of steps, such as a
download or a save by rank 0, may take as long as it likes, as long as its process gives signs of life.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import NamedTuple, Protocol

from vitrun.errors import ExitCode
from vitrun.runtime.stop import end_process

RANK_SECONDS = 600.0  # that a rank waits for another, by default
BEAT_SECONDS = 2.0  # between two signs of life, at most
BEATS = 8  # at least, in the time that a rank waits for another
GRACE_SECONDS = 2.5  # for the rank that prints what is wrong: torchrun ends all as soon as one has ended
CONTINUE = "Run the same command again to continue from the last checkpoint"


class Store(Protocol):
    """What is used of a store of torch.distributed."""

    def set(self, key: str, value: str) -> None:
        """Write the value of a key."""

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """Return the values of keys, once all are written."""


class Beat(NamedTuple):
    """Sign of life of a rank."""

    number: int = 0  # of its signs of life
    exchange: int = 0  # number of the last exchange with the others that it has begun
    step: int | None = None  # the last step of training; None outside of training, and before the first step
    work: str = ""  # what it does between two steps, if that may take long
    host: str = ""
    ended: bool = False  # whether it has found that another rank is lost


class Heartbeat:
    """Write this rank's signs of life, and call ``give_up`` with a sentence when it waits for a lost one.

    Args:
        store: A store of its own, which no other thread uses.
        give_up: Called in a thread; is to end the process. Gets the ranks that are lost, too.
    """

    def __init__(self, store: "Store", rank: int, size: int, give_up: Callable[[str, list[int]], None]):
        self.store, self.rank, self.size, self.give_up = store, rank, size, give_up
        self.seconds = RANK_SECONDS
        self.now = Beat(host=platform.node())  # but for its number; set by the main thread alone
        self.count = 0
        self.thread = Thread(target=self.beat, name="heartbeat", daemon=True)
        self.since: float | None = None  # when the exchange began in which this rank is
        self.answered = time.monotonic()  # when the store has answered
        self.earlier: list[Beat] = []  # signs of life of all ranks half of ``seconds`` ago
        self.latest: list[Beat] = []
        self.sampled = 0.0  # when ``earlier`` was read
        self.closing = Event()
        self.write()

    @property
    def interval(self) -> float:
        """Return the seconds between two signs of life."""
        return min(BEAT_SECONDS, self.seconds / BEATS)

    def start(self) -> None:
        """Read of all ranks once, and start the threads: one uses the store, which may stop too; the other does not."""
        self.read()
        self.thread.start()
        Thread(target=self.judge, name="lost ranks", daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Note that this rank is in an exchange with the others."""
        self.now = self.now._replace(exchange=self.now.exchange + 1)
        self.since = time.monotonic()
        try:
            yield
        finally:
            self.since = None

    def write(self) -> None:
        """Write a sign of life."""
        self.count += 1
        self.store.set(f"beat {self.rank}", json.dumps(self.now._replace(number=self.count)))
        self.answered = time.monotonic()

    def read(self) -> None:
        """Read the signs of life of all ranks."""
        texts = self.store.multi_get([f"beat {rank}" for rank in range(self.size)])
        self.latest = [Beat(*json.loads(text)) for text in texts]
        self.answered = time.monotonic()

    def beat(self) -> None:
        """Write signs of life, and read those of the others while waiting for them."""
        while not self.closing.wait(self.interval):
            since = self.since
            try:
                self.write()
                if since is None or time.monotonic() - since < self.seconds / 2:
                    self.earlier = []
                    continue
                self.read()
            except (RuntimeError, ValueError):  # the store has ended, with rank 0
                return
            if not self.earlier or time.monotonic() - self.sampled > self.seconds:
                self.earlier, self.sampled = self.latest, time.monotonic()

    def judge(self) -> None:
        """Give up when this rank has waited for long enough and another one is lost."""
        while not self.closing.wait(self.interval):
            since = self.since
            waited = 0.0 if since is None else time.monotonic() - since
            if waited < self.seconds or self.since != since:
                continue
            lost, sentence = self.explain(waited)
            if sentence:
                self.give_up(f"{sentence}. {CONTINUE}, or wait longer: rank_timeout={2 * self.seconds:g}", lost)
                return

    def explain(self, waited: float) -> tuple[list[int], str]:
        """Return the ranks that are lost, and what is known of the first; an empty text if there is reason to wait."""
        limit = f"{self.seconds:g} s (rank_timeout)"
        if time.monotonic() - self.answered > self.seconds / 2:
            return [0], f"{self.describe(0)} has not answered for {limit}: it is stopped, or its host cannot be reached"
        if not self.earlier or time.monotonic() - self.sampled < self.seconds / 2 - self.interval:
            return [], ""
        if silent := self.find_silent():
            what = f"has given no sign of life for {limit}: it is stopped or was killed, or its host is down"
            return silent, f"{self.describe(silent[0])} {what}"
        hanging = [rank for rank, beat in enumerate(self.latest) if self.hangs(beat, self.earlier[rank])]
        if hanging:
            return hanging, f"{self.describe(hanging[0])} hangs: the others have waited for it for {limit}"
        together = {beat.exchange for beat in self.latest} == {self.now.exchange}
        together &= not any(beat.work for beat in self.latest)
        if together and waited > 2 * self.seconds:
            return [], f"All ranks wait for each other for {limit}: the network between them does not work"
        return [], ""

    def hangs(self, now: Beat, before: Beat) -> bool:
        """Return whether a rank has stayed in a step of training that this rank has ended."""
        in_step = now.step is not None and not now.work
        return in_step and now.exchange == before.exchange < self.now.exchange

    def find_silent(self) -> list[int]:
        """Return the ranks that have given no sign of life between two readings."""
        return [
            rank
            for rank, (now, before) in enumerate(zip(self.latest, self.earlier))
            if rank != self.rank and now.number == before.number and not now.ended
        ]

    def find_dead(self) -> list[int]:
        """Return the ranks that have ended, once a connection to one of them has broken; none if that is not known.

        Called by the main thread, as all ranks that are left do at about the same time.
        """
        self.closing.set()
        self.thread.join(2 * self.interval)
        if self.thread.is_alive():  # it still waits for the store
            return [0]
        try:
            self.now = self.now._replace(ended=True)
            self.write()
            self.read()
            self.earlier = self.latest
            time.sleep(3 * self.interval)
            self.read()
        except (RuntimeError, ValueError):
            return [0]
        return self.find_silent()

    def leave(self) -> None:
        """Give a last sign of life, after which the others find that this rank has ended."""
        self.closing.set()
        self.thread.join(2 * self.interval)
        self.now = self.now._replace(ended=False)
        with suppress(RuntimeError, ValueError):  # the store has ended
            self.write()

    def describe(self, rank: int) -> str:
        """Return a rank with its host and its last step, if it trains."""
        beat = self.latest[rank]
        step = beat.step or self.now.step  # they differ by one at most
        return f"rank {rank} on {beat.host}" + (f", at step {step}," if step else "")


OWN: Heartbeat | None = None  # that of this process, if it is one of several


def start_heartbeat(store: Store, rank: int, size: int) -> None:
    """Give signs of life to the other ranks, and end this process if it waits for one that gives none."""
    global OWN

    def give_up(sentence: str, lost: list[int]) -> None:
        prints = rank == min({*range(size)} - {*lost})
        time.sleep(0 if prints else GRACE_SECONDS)
        end_process(ExitCode.DEVICE, f"vitrun: {sentence}." if prints else "")

    OWN = Heartbeat(store, rank, size, give_up)
    OWN.start()


def set_rank_timeout(seconds: float) -> None:
    """Set how long this rank waits for another that gives no sign of life, or hangs in a step of training."""
    if OWN:
        OWN.seconds = seconds


def set_step(step: int | None) -> None:
    """Note the steps that training has done; None where it ends."""
    if OWN:
        OWN.now = OWN.now._replace(step=step)


@contextmanager
def long_work(what: str) -> Iterator[None]:
    """Let the others wait for this rank in the midst of training, as while it saves, for as long as that takes."""
    if OWN:
        OWN.now = OWN.now._replace(work=what)
    try:
        yield
    finally:
        if OWN:
            OWN.now = OWN.now._replace(work="")
