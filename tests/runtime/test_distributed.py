"""Several ranks: the same images, the same run, one message, and one end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from helpers.overrides import TINY
from helpers.paths import ROOT
from helpers.runs import weights
from vitrun.errors import ExitCode
from vitrun.runs import run
from vitrun.runtime import distributed

FORK_RANKS = ROOT / "tests" / "helpers" / "fork_ranks.py"
EXACT = ["precision=fp32", "device=cpu"]


def launch(ranks: int, *commands: list[str]) -> subprocess.Popen:
    """Commands of ``vitrun``, one after the other, each as several ranks."""
    here = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, FORK_RANKS, str(ranks), *map(json.dumps, commands)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=here)


def ended(process: subprocess.Popen) -> tuple[list[int], str]:
    """The exit statuses of the ranks of the next command, and what they said."""
    said, numbers = [], []
    while len(numbers) < 2:
        line = process.stdout.readline()
        assert line, "\n".join(said)
        (numbers if re.fullmatch(r"\[[-\d, ]+\]\n", line) else said).append(line)
    return json.loads(numbers[1]), "".join(said)


def told(number: int, *overrides: str) -> str:
    """What several ranks said that all came to a good end."""
    statuses, output = ended(launch(number, [*overrides]))
    assert statuses == [0] * number, output
    return output


def tiny(*overrides: str) -> list[str]:
    """The arguments of a small pretraining run, with some overrides replaced."""
    return [*{override.split("=")[0]: override for override in ("pretrain", *TINY, *EXACT, *overrides)}.values()]


def losses(folder: Path) -> list[float]:
    (metrics,) = folder.glob("*/metrics.jsonl")
    return [line["loss"] for line in map(json.loads, metrics.read_text().splitlines()) if "loss" in line]


def test_several_ranks_train_as_one_does(run_command, tmp_path):
    recipe, _ = run_command(*tiny("batch=31"))
    output = told(2, *tiny("batch=31", f"runs={tmp_path / 'two'}"))
    assert output.count("starts") == output.count("images_per_second") == 1
    assert losses(tmp_path / "two") == pytest.approx(losses(recipe.runs), rel=1e-5)
    assert (tmp_path / "two" / run.run_name("pretrain", recipe)).is_dir(), "its name does not depend on the ranks"


def test_every_test_image_counts_exactly_once_whatever_the_ranks(run_command, tmp_path):
    runs, few = [f"runs={tmp_path / 'runs'}", "--json"], ["data.test_images=2", "batch=5", f"runs={tmp_path / 'few'}"]
    run_command(*tiny())
    expected = run_command("eval", *EXACT)[1]
    for number, batch, *more in ((2, 64), (3, 7, tiny(*few, "--json"))):
        processes = launch(number, ["eval", *EXACT, f"batch={batch}", *runs], *more)
        statuses, output = ended(processes)
        found = json.loads(output)
        assert statuses == [0] * number and found.pop("run").startswith("eval-")
        assert found == pytest.approx(expected, rel=1e-5)
    assert json.loads(ended(processes)[1])["test_images"] == 2, "fewer images than ranks"
    first, *others = map(pyarrow.parquet.read_table, (tmp_path / "runs").glob("eval-*/preds.parquet"))
    assert len(first) == expected["images_used"] == 50 and len({*first["id"].to_pylist()}) == 50
    assert len(others) == 2 and all(other == first for other in others)


def stop(process: subprocess.Popen, folder: Path, steps: int, number: int) -> None:
    """Send the second rank of the next command a signal once that many steps are saved."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not [p for p in folder.glob("*/checkpoints/step-*") if int(p.name[5:]) >= steps]:
        time.sleep(0.01)
    (pids,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().splitlines()
    os.kill(int(pids.split()[1]), number)


def test_what_ends_one_rank_ends_all_and_the_run_goes_on_to_the_same_bits(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    overrides = tiny("steps=20", "model.dropout=0.1", "ema=0.9", "save_minutes=0")
    ranks = launch(2, [*overrides, f"runs={whole}"], *3 * [[*overrides, f"runs={cut}"]])
    assert ended(ranks)[0] == [0, 0]
    stop(ranks, cut, 3, signal.SIGKILL)
    statuses, output = ended(ranks)
    assert statuses == [ExitCode.DEVICE, -signal.SIGKILL] and output.count("another rank has ended") == 1
    stop(ranks, cut, 10, signal.SIGTERM)
    statuses, output = ended(ranks)
    assert statuses == [ExitCode.TERMINATED] * 2 and output.count("Saved step") == output.count("To continue") == 1
    statuses, output = ended(ranks)
    assert statuses == [0, 0] and output.count("Resuming from step") == 1
    assert weights(whole) == weights(cut) and len(weights(whole)) == 2


def test_a_user_error_is_printed_once_and_ends_all_ranks(tmp_path):
    mistakes = (
        (ExitCode.COMMAND, "Did you mean model", tiny("modle=vit_b16")),
        (ExitCode.COMMAND, "image for each of 2 ranks", tiny("batch=1")),
        (ExitCode.COMMAND, "start it without torchrun", ["compare"]),
        (ExitCode.NUMERICS, "Step 2 has loss nan", tiny("optim.lr=1e30", "warmup=1", "clip=null")),
    )
    both = launch(2, *([*overrides, f"runs={tmp_path / str(status)}"] for status, _, overrides in mistakes))
    for status, sentence, _ in mistakes:
        statuses, output = ended(both)
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
    both = launch(2, *([*overrides, f"bad_images={share}", f"runs={tmp_path / str(share)}"] for share in (0.15, 0.14)))
    statuses, output = ended(both)
    assert statuses == [0, 0] and json.loads(output[output.index("{") :])["bad_images"] == 3
    assert output.count("Replaced in training") == 3
    assert ended(both)[0] == [ExitCode.DATA] * 2


def test_torchrun_starts_them(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "vitrun"]
    subprocess.run([*command, *tiny("steps=2", "warmup=0", f"runs={tmp_path}")], check=True, timeout=120)
    assert len(list(tmp_path.glob("*/result.json"))) == 1


def test_a_run_alone_asks_no_other():
    assert (distributed.rank(), distributed.world_size(), distributed.all_gather_object(3)) == (0, 1, [3])
