"""Runs with mode=fsdp: killed, resumed on as many ranks and on one, and used as any other run."""

import os
import re
import shutil
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

from helpers.overrides import TINY
from helpers.processes import CommandProcess, start_ranks, wait_for_steps
from helpers.soak import read_losses
from vitrun.errors import ExitCode

SMALL = [override for override in TINY if not override.startswith("steps=")]
DDP = ["pretrain", *SMALL, "precision=fp32", "device=cpu", "steps=10", "ema=0.9", "save_minutes=0"]
FSDP = [*DDP, "mode=fsdp"]


def wait(ranks: list[CommandProcess]) -> tuple[list[int], str]:
    """Return the exit statuses of ranks, and what they printed."""
    output = "".join([rank.wait() for rank in ranks])
    return [rank.returncode for rank in ranks], output


def test_a_killed_run_of_two_ranks_continues_on_two_and_on_one_and_gives_the_same_network(run_command, tmp_path):
    runs = tmp_path / "runs"
    ranks = start_ranks(2, *FSDP, f"runs={runs}", "rank_timeout=3")
    wait_for_steps(runs, 3)
    os.kill(ranks[1].pid, signal.SIGKILL)
    statuses, output = wait(ranks)
    assert statuses == [ExitCode.DEVICE, -signal.SIGKILL] and "divided over 2 ranks" in output, output
    (line,) = re.findall(r"^vitrun.*Run the same command again to continue.*", output, re.MULTILINE)
    assert re.search(r"rank 1 on \S+, at step \d+, has ended", line)
    shutil.copytree(runs, tmp_path / "alone")
    (checkpoint,) = sorted(runs.glob("*/checkpoints/step-*"))[-1:]
    assert len([*checkpoint.glob("shard-*-of-00002.safetensors")]) == 2 and (checkpoint / "MANIFEST.json").exists()

    ranks = start_ranks(2, *FSDP, f"runs={runs}")
    wait_for_steps(runs, 6)
    os.kill(ranks[0].pid, signal.SIGTERM)
    statuses, output = wait(ranks)
    assert statuses == [ExitCode.TERMINATED] * 2 and output.count("Saved step") == 1, output
    statuses, output = wait(start_ranks(2, *DDP, f"runs={runs}"))
    assert statuses == [0, 0] and "mode ddp, not fsdp over 2: the bits may differ" in output, output
    alone = CommandProcess(*FSDP, f"runs={tmp_path / 'alone'}")
    assert "nothing is divided" in alone.wait() and alone.returncode == 0, alone.stderr

    losses, others = read_losses(runs), read_losses(tmp_path / "alone")
    assert losses.keys() == others.keys() and [*losses.values()] == pytest.approx([*others.values()], rel=1e-3)
    (one,), (two,) = ([*folder.glob("*/checkpoints/*/ema.safetensors")] for folder in (runs, tmp_path / "alone"))
    for name, tensor in load_file(one).items():
        np.testing.assert_allclose(tensor, load_file(two)[name], atol=5e-3)
    assert run_command("eval", "precision=fp32")[1]["images_used"] == 50
