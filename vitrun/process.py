"""This process: what it runs on, that it is alone in a folder, and how it is asked to end."""

import ctypes
import fcntl
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vitrun.mistakes import Exit, Mistake

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "datasets", "safetensors", "pillow", "simplejpeg")
KEPT = {-8: 1, -1: -1, -4: 0}  # malloc.h: one arena (others are always given back), no M_TRIM_THRESHOLD, no M_MMAP_MAX
SPINS = "5000"  # of a thread that waits for work, some microseconds
TWICE = 1.0  # seconds in which one request may come by two ways: from its group, and from the sweep that it is a job of


@contextmanager
def alone(lock: Path, name: str) -> Iterator[None]:
    """Hold the lock of the run ``name``; a Mistake where another process holds it."""
    with open(lock, "ab+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise Mistake(f"{name} is running already ({file.read().decode()}). Wait for it, or stop it.") from None
        with suppress(OSError):  # on a full disk it says nothing, and holds all the same
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
        yield


@contextmanager
def stoppable(ask: Callable[[Exit], None]) -> Iterator[None]:
    """``ask`` at the first Ctrl-C or SIGTERM, with the exit status for it; a later one ends the process at once."""
    asked: float | None = None

    def hear(number: int, _: Any) -> None:
        nonlocal asked
        status = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED
        if asked is None:
            asked = time.monotonic()
            ask(status)
        elif time.monotonic() - asked > TWICE:
            os._exit(status)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_memory() -> None:
    """Freed memory is kept for the next step, where the C library is GNU's, and not given back to be taken anew.

    A step on a CPU frees as much as it takes, and the kernel clears each page taken: of the time of ViT-L/16 that was a
    quarter. To be called before there are threads, for each may bring an arena; with a GPU they may: there the threads
    that read images would wait for one another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for parameter, value in KEPT.items() if mallopt and why_no_gpu() else ():
        mallopt(parameter, value)


def share_cores() -> None:
    """Idle threads of torch sleep soon, so that another process gets their core; to be called before torch is loaded.

    They spin for milliseconds otherwise: two trainings of one lane on two cores made 43 images/s each, and now 430.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def why_no_gpu() -> str | None:
    """The reason that no NVIDIA GPU can be used, as far as it can be known without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU."
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine."
    return None


def commit() -> str | None:
    """The commit of this code; None where it is installed, be it inside another repository."""
    here = Path(__file__)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", here.parent, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--verify", "-q", "HEAD") or None if git("ls-files", here.name) else None


def surroundings() -> dict[str, Any]:
    """The code's commit, the versions of the libraries, and the machine."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "libraries": {library: version(library) for library in LIBRARIES},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
