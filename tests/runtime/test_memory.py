"""Memory that is left, by the machine, control groups and limits of the process."""

import pytest

from helpers.limits import limited_memory
from vitrun.runtime.memory import Memory, available_memory, lacks_memory

MIB = 2**20
CGROUPS = {  # version -> /proc/self/cgroup, the folder of its files, and their names and contents
    2: (
        "0::/a/b",
        "sys/fs/cgroup/a",
        {"memory.max": 900, "memory.current": 400, "memory.stat": "inactive_file {cached}"},
    ),
    1: (
        "5:cpu:/\n4:hugetlb,memory:/a/b",
        "sys/fs/cgroup/memory/a",
        {"memory.limit_in_bytes": 900, "memory.usage_in_bytes": 400, "memory.stat": "total_active_file {cached}"},
    ),
    "in a container": (
        "4:memory:/docker/1234",
        "sys/fs/cgroup/memory",
        {"memory.limit_in_bytes": 900, "memory.usage_in_bytes": 400, "memory.stat": "total_active_file {cached}"},
    ),
}


@pytest.mark.parametrize("version", CGROUPS)
def test_a_control_group_limits_what_is_left_of_the_machine(tmp_path, version):
    groups, folder, files = CGROUPS[version]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {2024 * 1024} kB\n")
    (tmp_path / "proc/self/cgroup").write_text(groups)
    assert available_memory(2, tmp_path) == Memory(1012 * MIB, "the machine")
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max")
    for name, value in files.items():
        text = value.format(cached=100 * MIB) if isinstance(value, str) else str(value * MIB)
        (tmp_path / folder / name).write_text(text)
    assert available_memory(1, tmp_path) == Memory(600 * MIB, "the limit of its control group")
    assert available_memory(2, tmp_path).size == 300 * MIB


def test_a_system_that_does_not_say_has_no_known_limit(tmp_path):
    assert available_memory(1, tmp_path) is None


def test_a_limit_of_the_process_counts(tmp_path):
    (tmp_path / "small").write_bytes(bytes(10))
    assert available_memory().size > 2**28
    with limited_memory(2**28):
        size, limit = available_memory()
        assert 0.9 * 2**28 < size <= 2**28 and limit == "`ulimit -v`"
        assert not lacks_memory(MemoryError(), tmp_path / "small"), "there is enough for a sound file of this size"
