"""A run on a disk that becomes full or read-only keeps its last checkpoint, goes on, and ends with the same bits."""

import re

import pytest

from helpers.damaged_runs import SMALL
from helpers.processes import FORKS
from helpers.runs import hash_weights
from helpers.small_disk import answer_on_disk

COMMAND = ["pretrain", *(override for override in SMALL if not override.startswith("steps=")), "steps=9"]
REASONS = {
    "full": r"it needs 1.\d MB and the disk has 1.0 MB",
    "full, unnoticed": "No space left on device",
    "read-only": "Read-only file system",
}


@pytest.fixture
def survive(tmp_path):
    """Return a function that runs commands on a small disk with a fault; skip the test where none can be mounted."""

    def survive(fault: str, steps: range, commands: int) -> list:
        reader, writer = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=answer_on_disk, args=(writer, tmp_path, fault, steps, [COMMAND] * commands))
        process.start()
        writer.close()
        answers = reader.recv()
        process.join()
        if answers is None:
            pytest.skip("mounting a disk needs more rights")
        return answers

    return survive


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, str]:
    """Return the hashes of the weights of an undisturbed run."""
    from helpers.processes import CommandProcess

    folder = tmp_path_factory.mktemp("whole")
    output = (process := CommandProcess(*COMMAND, f"runs={folder}")).wait()
    assert process.returncode == 0, output
    return hash_weights(folder)


@pytest.mark.parametrize("fault", REASONS)
def test_saves_that_fail_end_the_run_the_third_time_and_it_continues_from_the_checkpoint_before(
    survive, whole, tmp_path, fault
):
    broken, resumed = survive(fault, range(4, 20), commands=2)
    lines = broken.output.splitlines()
    assert broken.status == 6 and "Traceback" not in broken.output and broken.saved == [2, 3], broken.output
    failed = [line for line in lines if line.startswith("Cannot save step ")]
    assert [line.split()[3] for line in failed] == ["4:", "5:"] and all(
        re.search(REASONS[fault], line) for line in failed
    ), failed
    assert all("Training continues; the checkpoint before it is intact" in line for line in failed)
    assert lines[-1].startswith("vitrun pretrain: Cannot save step 6 (3 times in a row): ")
    assert len([line for line in lines if "The run continues without its lines" in line]) <= 2, "once for each file"
    assert resumed.status == 0 and "Resuming from step 3" in resumed.output and not list(tmp_path.rglob(".tmp-*"))
    assert hash_weights(tmp_path / "left") == whole


def test_a_disk_that_is_full_for_two_saves_costs_no_run(survive, whole, tmp_path):
    (answer,) = survive("full, unnoticed", range(4, 6), commands=1)
    assert answer.status == 0 and answer.output.count("Cannot save step ") == 2, answer.output
    assert hash_weights(tmp_path / "left") == whole and not list(tmp_path.rglob(".tmp-*"))
