"""What this process runs on: libraries, machine, memory allocator, cores."""

import ctypes
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "datasets", "safetensors", "pillow", "simplejpeg")
MALLOC_OPTIONS = {
    -8: 1,
    -1: -1,
    -4: 0,
}  # malloc.h: one arena (others are always given back), no M_TRIM_THRESHOLD, no M_MMAP_MAX
SPIN_COUNT = "5000"  # of a thread that waits for work, some microseconds


def keep_freed_memory() -> None:
    """Freed memory is kept for the next step, where the C library is GNU's, and not given back to be taken anew.

    A step on a CPU frees as much as it takes, and the kernel clears each page taken: of the time of ViT-L/16 that was a
    quarter. To be called before there are threads, for each may bring an arena; with a GPU they may: there the threads
    that read images would wait for one another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for parameter, value in MALLOC_OPTIONS.items() if mallopt and why_no_gpu() else ():
        mallopt(parameter, value)


def share_cores() -> None:
    """Idle threads of torch sleep soon, so that another process gets their core; to be called before torch is loaded.

    They spin for milliseconds otherwise: two trainings of one lane on two cores made 43 images/s each, and now 430.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def why_no_gpu() -> str | None:
    """The reason that no NVIDIA GPU can be used, as far as it can be known without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU."
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine."
    return None


def read_git_commit() -> str | None:
    """The commit of this code; None where it is installed, be it inside another repository."""
    here = Path(__file__)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", here.parent, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--verify", "-q", "HEAD") or None if git("ls-files", here.name) else None


def describe_environment() -> dict[str, Any]:
    """The code's commit, the versions of the libraries, and the machine."""
    return {
        "commit": read_git_commit(),
        "python": platform.python_version(),
        "libraries": {library: version(library) for library in LIBRARIES},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
