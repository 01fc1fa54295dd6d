"""Several ranks: the same images and run as one rank, one message, and one end."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from helpers.overrides import TINY
from helpers.processes import CommandProcess, find_free_port, read_error_line, start_ranks, start_tasks, wait_for_steps
from helpers.runs import hash_weights
from helpers.soak import read_losses
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runs import run
from vitrun.runtime import distributed

EXACT = ["precision=fp32", "device=cpu"]


def run_ranks(count: int, arguments: list[str]) -> tuple[list[int], str]:
    """Run a command as several ranks; return their exit statuses and what they printed."""
    return wait_for_ranks(start_ranks(count, *arguments))


def wait_for_ranks(ranks: list[CommandProcess]) -> tuple[list[int], str]:
    """Return the exit statuses of ranks, and what they printed."""
    output = "".join([rank.wait() for rank in ranks])
    return [rank.returncode for rank in ranks], output


def tiny_arguments(*overrides: str) -> list[str]:
    """Return the arguments of a small pretraining run, with some overrides replaced."""
    return [*{override.split("=")[0]: override for override in ("pretrain", *TINY, *EXACT, *overrides)}.values()]


def load_losses(folder: Path) -> list[float]:
    (metrics,) = folder.glob("*/metrics.jsonl")
    return [line["loss"] for line in map(json.loads, metrics.read_text().splitlines()) if "loss" in line]


def test_several_ranks_train_like_one(run_command, tmp_path):
    recipe, _ = run_command(*tiny_arguments("batch=31"))
    statuses, output = run_ranks(2, tiny_arguments("batch=31", f"runs={tmp_path / 'two'}"))
    assert statuses == [0, 0], output
    assert output.count("starting") == output.count("images_per_second") == 1
    assert load_losses(tmp_path / "two") == pytest.approx(load_losses(recipe.runs), rel=1e-5)
    assert (tmp_path / "two" / run.run_name("pretrain", recipe)).is_dir(), "its name does not depend on the ranks"


def test_every_test_image_counts_exactly_once_for_any_number_of_ranks(run_command, tmp_path):
    runs, few = [f"runs={tmp_path / 'runs'}", "--json"], ["data.test_images=2", "batch=5", f"runs={tmp_path / 'few'}"]
    run_command(*tiny_arguments())
    expected = run_command("eval", *EXACT)[1]
    for count, batch in ((2, 64), (3, 7)):
        statuses, output = run_ranks(count, ["eval", *EXACT, f"batch={batch}", *runs])
        result = json.loads(output)
        assert statuses == [0] * count and result.pop("run").startswith("eval-")
        assert result.pop("metrics").keys() == expected["metrics"].keys()
        assert result.pop("view") == expected["view"]
        assert result == pytest.approx({name: expected[name] for name in result}, rel=1e-5)
        assert result.keys() | {"metrics", "view"} == expected.keys()
    _, output = run_ranks(3, tiny_arguments(*few, "--json"))
    assert json.loads(output)["test_images"] == 2, "fewer images than ranks"
    first, *others = map(pyarrow.parquet.read_table, (tmp_path / "runs").glob("eval-*/preds.parquet"))
    assert len(first) == expected["images_used"] == 50 and len({*first["id"].to_pylist()}) == 50
    exact = ["id", "label", "top5"]
    assert len(others) == 2 and all(other.select(exact) == first.select(exact) for other in others)
    for other in others:  # sums are rounded otherwise in batches of another size
        assert np.allclose(other["loss"], first["loss"], rtol=1e-5)
        assert np.allclose(other["probabilities"].to_pylist(), first["probabilities"].to_pylist(), rtol=1e-4)


def test_the_end_of_one_rank_ends_all_and_the_resumed_run_has_the_same_bits(tmp_path):
    straight, cut = tmp_path / "whole", tmp_path / "cut"
    overrides = tiny_arguments("steps=20", "model.dropout=0.1", "ema=0.9", "save_minutes=0")
    assert run_ranks(2, [*overrides, f"runs={straight}"])[0] == [0, 0]

    def run_until(steps: int, number: int) -> tuple[list[int], str]:
        ranks = start_ranks(2, *overrides, f"runs={cut}", "rank_timeout=3")
        wait_for_steps(cut, steps)
        os.kill(ranks[1].pid, number)
        if number == signal.SIGSTOP:
            ranks[0].process.join()
            os.kill(ranks[1].pid, signal.SIGKILL)
        return wait_for_ranks(ranks)

    for steps, number, what in ((3, signal.SIGKILL, "has ended"), (6, signal.SIGSTOP, "has given no sign of life")):
        statuses, output = run_until(steps, number)
        assert statuses == [ExitCode.DEVICE, -signal.SIGKILL], output
        (line,) = re.findall(r"^vitrun.*Run the same command again to continue.*", output, re.MULTILINE)
        assert re.search(rf"rank 1 on \S+, at step \d+, {what}", line)
    statuses, output = run_until(10, signal.SIGTERM)
    assert statuses == [ExitCode.TERMINATED] * 2 and output.count("Saved step") == output.count("To continue") == 1
    statuses, output = run_ranks(2, [*overrides, f"runs={cut}"])
    assert statuses == [0, 0] and output.count("Resuming from step") == 1
    assert hash_weights(straight) == hash_weights(cut) and len(hash_weights(straight)) == 2


def test_a_run_of_two_ranks_continues_on_one_with_the_same_images_and_losses(run_command, tmp_path):
    overrides = tiny_arguments("steps=12", "save_minutes=0")
    recipe, _ = run_command(*overrides)
    ranks = start_ranks(2, *overrides, f"runs={tmp_path / 'cut'}")
    wait_for_steps(tmp_path / "cut", 3)
    os.kill(ranks[0].pid, signal.SIGTERM)
    assert wait_for_ranks(ranks)[0] == [ExitCode.TERMINATED] * 2
    alone = CommandProcess(*overrides, "micro_batch=5", f"runs={tmp_path / 'cut'}")
    output = alone.wait()
    assert alone.returncode == 0 and re.search(
        r"with ranks 1, not 2;.* micro_batch 5, not 16[;:].* the bits may", output
    ), output
    expected, losses = read_losses(recipe.runs), read_losses(tmp_path / "cut")
    assert losses.keys() == expected.keys() and [*losses.values()] == pytest.approx([*expected.values()], rel=1e-4)


def test_a_user_error_is_printed_once_and_ends_all_ranks(tmp_path):
    errors = (
        (ExitCode.COMMAND, "Did you mean model", tiny_arguments("modle=vit_b16")),
        (ExitCode.COMMAND, "image for each of 2 ranks", tiny_arguments("batch=1")),
        (ExitCode.COMMAND, "start it without torchrun", ["compare"]),
        (
            ExitCode.NUMERICS,
            "Step 5 has loss nan",
            tiny_arguments("optim.lr=1e30", "warmup=1", "clip=null", "on_nan=skip:2"),
        ),
    )
    for status, sentence, arguments in errors:
        statuses, output = run_ranks(2, [*arguments, f"runs={tmp_path / str(status)}"])
        assert statuses == [status] * 2 and sentence in output
        assert len(re.findall("^vitrun", output, re.MULTILINE)) == 1
    assert [folder.name for folder in tmp_path.iterdir() if any(folder.iterdir())] == [str(ExitCode.NUMERICS)]


def test_bad_images_are_counted_over_all_ranks(tmp_path):
    random = np.random.default_rng(0)
    for number in range(24):
        file = tmp_path / ("test" if number < 4 else "train") / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (8, 8 + number % 2, 3), dtype=np.uint8)).save(file)
    for number in (9, 14, 20):
        (tmp_path / "train" / "ab"[number % 2] / f"{number}.png").write_text("no image")
    overrides = ["pretrain", *EXACT, "data=folder", f"data.path={tmp_path}", "batch=4", "steps=5", "warmup=0", "--json"]
    ranks = start_ranks(2, *overrides, "bad_images=0.15", f"runs={tmp_path / 'some'}")
    statuses, output = wait_for_ranks(ranks)
    assert statuses == [0, 0] and json.loads(ranks[0].stdout)["bad_images"] == 3
    assert output.count("to be replaced in training") == 3
    assert run_ranks(2, [*overrides, "bad_images=0.14", f"runs={tmp_path / 'fewer'}"])[0] == [ExitCode.DATA] * 2


def test_torchrun_starts_the_ranks(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "vitrun"]
    subprocess.run([*command, *tiny_arguments("steps=2", "warmup=0", f"runs={tmp_path}")], check=True, timeout=120)
    assert len(list(tmp_path.glob("*/result.json"))) == 1


def test_srun_starts_the_ranks(tmp_path):
    ranks = start_tasks(2, *tiny_arguments("steps=2", "warmup=0", f"runs={tmp_path}"))
    statuses, output = wait_for_ranks(ranks)
    assert statuses == [0, 0] and "on 2 ranks" in output
    assert len(list(tmp_path.glob("*/result.json"))) == 1


@pytest.mark.parametrize(
    "rank, missing", [(0, "ranks did not start within 0.2 s: 1, 2"), (1, "cannot reach rank 0 at")]
)
def test_ranks_that_do_not_start_are_named_in_one_sentence(rank, missing):
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_port()), "VITRUN_JOIN_SECONDS": "0.2"}
    environment = os.environ | address | {"RANK": str(rank), "WORLD_SIZE": "3"}
    process = CommandProcess("pretrain", environment=environment)
    line = read_error_line((process.wait(), process)[1], ExitCode.DEVICE)
    assert missing in line and "VITRUN_JOIN_SECONDS" in line


def test_a_single_process_is_rank_0_of_1():
    assert (distributed.rank(), distributed.world_size(), distributed.all_gather_object(3)) == (0, 1, [3])


@pytest.mark.parametrize(
    "error", [UserError("too large.", ExitCode.DATA, option="lr", value="1e9"), Interrupted(ExitCode.TERMINATED)]
)
def test_an_error_reaches_the_other_ranks_unchanged(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and vars(copy) == vars(error) and str(copy) == str(error)
