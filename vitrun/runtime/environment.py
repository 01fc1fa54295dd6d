"""Environment of this process: versions of libraries, machine, memory allocator, cores, and ``VITRUN_CONF``."""

import ctypes
import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "datasets", "safetensors", "pillow", "simplejpeg")
# malloc.h: one arena (memory of others is always returned), no M_TRIM_THRESHOLD, no M_MMAP_MAX
MALLOC_OPTIONS = {-8: 1, -1: -1, -4: 0}
CONFIG_FOLDER = "VITRUN_CONF"  # names the user's folder of config files, also to the processes that vitrun starts
SPIN_COUNT = "5000"  # some microseconds that a thread spins while it waits for work


def keep_freed_memory() -> None:
    """Keep freed memory for the next step instead of returning it to the kernel, if the C library is GNU's.

    A step on a CPU frees as much as it allocates, and the kernel clears every page anew: a quarter of the time of
    ViT-L/16. Call it before there are threads, as each may get an arena. With a GPU nothing is changed: there the
    threads that read images would wait for one another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and why_no_gpu():
        for parameter, value in MALLOC_OPTIONS.items():
            mallopt(parameter, value)


def share_cores() -> None:
    """Let idle threads of torch sleep soon, so that another process gets their core; call it before torch is imported.

    By default they spin for milliseconds: of two trainings, with one worker each on two cores, each then made 43
    images/s instead of 430.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def set_config_folder(folder: Path) -> None:
    """Name the user's folder of config files, for this process and those that it starts."""
    os.environ[CONFIG_FOLDER] = str(folder.absolute())


def why_no_gpu() -> str | None:
    """Return why no NVIDIA GPU can be used, as far as it can be known without torch; None if one may be usable."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU."
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine."
    return None


def read_git_commit() -> str | None:
    """Return the git commit of this code; None if it is installed, even inside another repository, or without git."""
    program = shutil.which("git")
    return read_tracked_commit(program) if program else None


@cache
def read_tracked_commit(program: str) -> str | None:
    """Return the commit of the repository that tracks this file, by the git at ``program``; None if none tracks it."""
    file = Path(__file__)

    def git(*arguments: str) -> str:
        command = [program, "-C", str(file.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--verify", "-q", "HEAD") or None if git("ls-files", file.name) else None


def describe_environment() -> dict[str, Any]:
    """Return the code's commit, the versions of libraries, and the machine."""
    return {
        "commit": read_git_commit(),
        "python": platform.python_version(),
        "libraries": read_versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


@cache
def read_versions() -> dict[str, str]:
    """Return the versions of the libraries on which results may depend; read once in a process."""
    return {library: version(library) for library in LIBRARIES}
