"""Main memory that is left to this process."""

import resource
from collections.abc import Iterator
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return the bytes that this process can still take: of the machine, its control group and its own limit.

    None where the system does not tell.
    """
    return min((max(0, free) for free in (*read_machine(), *read_control_groups(), *read_own_limit())), default=None)


def read_machine() -> Iterator[int]:
    """Yield the bytes that the machine can give without swapping."""
    if MEMINFO.exists():
        values = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
        if "MemAvailable" in values:
            yield int(values["MemAvailable"].split()[0]) * 1024


def read_control_groups() -> Iterator[int]:
    """Yield what each limited control group around this process has left, as a container or a batch job sets it."""
    if not CGROUP.exists():
        return
    for line in CGROUP.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        first = "memory" in controllers.split(",")  # version 1
        root = CGROUPS / "memory" if first else CGROUPS
        limit, used = ("limit_in_bytes", "usage_in_bytes") if first else ("max", "current")
        if controllers and not first:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == root.parent:
                break
            yield from read_group(folder / f"memory.{limit}", folder / f"memory.{used}")


def read_group(limit: Path, used: Path) -> Iterator[int]:
    """Yield what a control group has left, with the file cache that it would drop; nothing if it has no limit."""
    try:
        text = limit.read_text().strip()
        statistics = dict(line.split(maxsplit=1) for line in limit.with_name("memory.stat").read_text().splitlines())
        cached = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
        if text.isdigit():
            yield int(text) - int(used.read_text()) + cached
    except OSError:  # a group without this controller, or one that this process may not see
        return


def read_own_limit() -> Iterator[int]:
    """Yield what the process may still take by ``ulimit -v``."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = Path("/proc/self/statm")
    if limit != resource.RLIM_INFINITY and pages.exists():
        yield limit - int(pages.read_text().split()[0]) * resource.getpagesize()
