"""Memory that this process can still get: of the machine, its control group (container, batch job) and its limits."""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vitrun.errors import is_out_of_memory

UNLIMITED = 2**60  # bytes; control groups without a limit have a number above it
VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
VERSION_2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))


class Memory(NamedTuple):
    """Bytes that can be allocated, and what limits them."""

    size: int
    limit: str  # as "the machine", "ulimit -v"


def available_memory(processes: int = 1, root: Path = Path("/")) -> Memory | None:
    """Return the memory that each of that many ``processes`` on this machine can still get; None if it is unknown.

    Swap does not count: a step that needs it takes hours. ``root`` is the folder of ``proc`` and ``sys``.
    """
    shared = [Memory(memory.size // processes, memory.limit) for memory in list_shared_limits(root)]
    limits = [*shared, *list_process_limits(root)]
    return min(limits, default=None)


def lacks_memory(error: Exception, file: Path) -> bool:
    """Return whether an error means that there is no memory to read ``file``, and not that the file is damaged.

    A damaged one may ask for more than it has, while there is enough for what it has.
    """
    if not is_out_of_memory(error):
        return False
    free = available_memory()
    return free is None or free.size < 2 * file.stat().st_size


def list_shared_limits(root: Path) -> Iterator[Memory]:
    """Yield what the machine and each control group of this process have left."""
    with suppress(OSError, ValueError, KeyError):
        yield Memory(1024 * read_sizes(root / "proc/meminfo", ":")["MemAvailable"], "the machine")
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from list_group_limits(root / "sys/fs/cgroup", path, *VERSION_2)
            elif "memory" in controllers.split(","):
                yield from list_group_limits(root / "sys/fs/cgroup/memory", path, *VERSION_1)


def list_group_limits(
    mount: Path, path: str, limit_file: str, usage_file: str, reclaimable: tuple[str, ...]
) -> Iterator[Memory]:
    """Yield what a control group and each one around it have left; a container may see its own group as the root."""
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):  # no such group here, or "max" for no limit
            limit = int((folder / limit_file).read_text())
            used = int((folder / usage_file).read_text())
            facts = read_sizes(folder / "memory.stat", " ")
            cached = sum(facts.get(name, 0) for name in reclaimable)  # pages of files, which the kernel gives up
            if limit < UNLIMITED:
                yield Memory(max(0, limit - used + cached), "the limit of its control group")
        if folder == mount:
            return


def list_process_limits(root: Path) -> Iterator[Memory]:
    """Yield what the limits of this process (``ulimit -v`` and ``ulimit -d``) leave."""
    with suppress(OSError, ValueError, KeyError):
        used = read_sizes(root / "proc/self/status", ":")
        for number, name, flag in ((resource.RLIMIT_AS, "VmSize", "-v"), (resource.RLIMIT_DATA, "VmData", "-d")):
            limit, _ = resource.getrlimit(number)
            if limit != resource.RLIM_INFINITY:
                yield Memory(max(0, limit - 1024 * used[name]), f"`ulimit {flag}`")


def read_sizes(path: Path, separator: str) -> dict[str, int]:
    """Return the numbers of a file with lines such as ``MemFree:  1024 kB``, by their names."""
    pairs = (line.split(separator, 1) for line in path.read_text().splitlines() if separator in line)
    words = ((name, value.split()) for name, value in pairs)
    return {name: int(value[0]) for name, value in words if value and value[0].isdecimal()}
