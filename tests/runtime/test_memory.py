"""The memory that is left is the least that the machine, the control groups and the process's own limit leave."""

import resource

import pytest

from vitrun.runtime import memory

GIB = 2**30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Return a function that makes the files of a system."""
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "groups")

    def write(**files: str) -> None:
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("memory_", "memory.")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


def test_the_machine_is_the_limit_without_control_groups(system):
    system(meminfo=f"MemTotal: 99 kB\nMemAvailable: {GIB // 1024} kB\n")
    assert memory.available_memory() == GIB


@pytest.mark.parametrize("group", ["0::/job/task\n", "4:cpu,memory:/job/task\n0::/\n"], ids=["version 2", "version 1"])
def test_a_control_group_around_the_process_is_the_limit(system, group):
    system(meminfo=f"MemAvailable: {GIB} kB\n", cgroup=group)
    if "memory" in group:
        system(
            groups__memory__job__memory_limit_in_bytes=f"{3 * GIB}\n",
            groups__memory__job__memory_usage_in_bytes=f"{2 * GIB}\n",
            groups__memory__job__memory_stat=f"cache 1\ntotal_inactive_file {GIB // 2}\n",
        )
    else:
        system(
            groups__job__task__memory_max="max\n", groups__job__task__memory_stat="file 1\n",
            groups__job__memory_max=f"{3 * GIB}\n", groups__job__memory_current=f"{2 * GIB}\n",
            groups__job__memory_stat=f"file 1\ninactive_file {GIB // 2}\n",
        )  # fmt: skip
    assert memory.available_memory() == GIB + GIB // 2


def test_a_limit_of_the_process_itself_counts(system, monkeypatch):
    system(meminfo=f"MemAvailable: {GIB} kB\n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    assert memory.available_memory() == 0


def test_a_system_that_does_not_tell_gives_none(system):
    assert memory.available_memory() is None
