"""Limits on the memory of a process."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitrun.runtime.memory import read_sizes

PROCESS = Path("/proc/self/status")


@contextmanager
def limited_memory(size: int) -> Iterator[None]:
    """Let this process map only ``size`` more bytes inside the context."""
    used = 1024 * read_sizes(PROCESS, ":")["VmSize"]
    _, hard = limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
