"""A run that is killed ten times ends with the same bits; ``scripts/soak.py`` kills it more often."""

from pathlib import Path

from helpers.processes import FORKS
from helpers.soak import soak


def send_soak(folder: Path, pipe) -> None:
    pipe.send(soak(folder, kills=10, seed=1))


def test_a_run_that_is_killed_ten_times_ends_with_the_same_weights_and_losses(tmp_path):
    reader, writer = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=send_soak, args=(tmp_path, writer))  # whose forks start in milliseconds
    process.start()
    writer.close()  # so that a process that fails ends the wait below
    result = reader.recv()
    process.join()
    assert not result.problems, result.problems
    assert result.losses_equal and result.weights[0] == result.weights[1] and len(result.weights[0]) == 2
    assert result.rejected == 0 and result.kills == 10 and sum(result.inside.values()) >= 5
    assert result.sound
