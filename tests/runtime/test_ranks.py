"""The environment of torchrun, of srun or of neither says which rank this process is; half of one is an error."""

import pytest

from vitrun.errors import ExitCode, UserError
from vitrun.runtime import ranks
from vitrun.runtime.ranks import Ranks, read_ranks

STEP = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0"}
NODES = {"SLURM_JOB_NODELIST": "gpu[07-09,12],login1", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9"}


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "", "WORLD_SIZE": ""},
        {"RANK": "0"},
        {"WORLD_SIZE": "2"},
        {"RANK": "", "WORLD_SIZE": "2"},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "0"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": ""},
        STEP | {"SLURM_PROCID": ""},
        STEP | {"WORLD_SIZE": "2"},  # that of srun is 8
        STEP | {"RANK": "0"},  # for every task
    ],
)
def test_rank_variables_that_are_half_set_or_wrong_are_refused(variables):
    with pytest.raises(UserError) as error:
        read_ranks(variables)
    assert error.value.status == ExitCode.DEVICE and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "variables",
    [
        {"MASTER_ADDR": "node1", "LOCAL_RANK": ""},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"SLURM_NTASKS": "8", "SLURM_JOB_ID": "17"},  # salloc's shell
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "ENVIRONMENT": "BATCH"},  # sbatch's script, without srun
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"},  # salloc's interactive step
    ],
)
def test_a_process_that_has_no_others_is_a_single_one(variables):
    assert read_ranks(variables) == Ranks()


def test_a_task_of_srun_is_a_rank_and_finds_rank_0_on_the_first_node():
    task = read_ranks(STEP | NODES | {"ENVIRONMENT": "BATCH", "SLURM_STEP_NUM_TASKS": "4", "WORLD_SIZE": "4"})
    assert task == Ranks(3, 4, 1, "gpu07", task.port, from_slurm=True)
    assert task.port == read_ranks(STEP | {"SLURM_PROCID": "0"}).port != read_ranks(STEP | {"SLURM_STEP_ID": "1"}).port
    assert read_ranks(STEP | NODES | {"SLURM_STEP_NODELIST": "gpu09"}).address == "127.0.0.1", "all on one node"
    assert read_ranks(STEP | NODES | {"MASTER_ADDR": "other", "MASTER_PORT": "1"})[3:5] == ("other", "1")


def test_torchrun_counts_more_than_srun():
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "9"}
    assert read_ranks(STEP | torchrun) == Ranks(1, 2, 1, "a", "9")


@pytest.mark.parametrize(
    "nodes, first", [("a", "a"), ("a,b", "a"), ("n[1-3]", "n1"), ("r[02,4]n[7-8],x[1]", "r02n7"), ("", "")]
)
def test_the_first_host_of_a_list_of_slurm(nodes, first):
    assert ranks.first_host(nodes) == first
