"""Runs with damaged checkpoints, manifests, recipes or results: they resume to the right weights, or are refused."""

import atexit
import json
import os
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from helpers import damaged_text, damages, forks
from vitrun.runs import manifest
from vitrun.runs.run import Run

SMALL = [
    *("model=vit_nano8", "model.depth=1", "data.train_images=16", "data.test_images=8", "batch=8", "steps=4"),
    *("warmup=1", "ema=0.5", "save_minutes=0", "device=cpu", "precision=fp32"),
]
STOPPED = 3  # the step of the newest checkpoint of the run that is not finished
OTHER = "seed=1"  # the other run, which stays as it is


@cache
def templates() -> Path:
    """Return a folder with two finished runs in ``finished``, and the first as it was when killed in ``killed``."""
    folder = Path(tempfile.mkdtemp(prefix="templates-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, overrides in (("killed", []), ("finished", [OTHER]), ("finished", [])):
        child = forks.start_fork(folder / "output", train, folder / name, overrides, name == "killed")
        assert os.waitpid(child, 0)[1] == 0, (folder / "output").read_text()
    return folder


def train(runs: Path, overrides: list[str], killed: bool) -> None:
    """Train a run; one that is ``killed`` ends at once when it has logged that a step is saved."""
    log_metrics = Run.log_metrics

    def log_and_end(run: Run, line: dict[str, Any]) -> None:
        log_metrics(run, line)
        if line.get("saved") == STOPPED:
            os._exit(0)

    Run.log_metrics = log_and_end if killed else log_metrics
    forks.run_app(["pretrain", *SMALL, *overrides, f"runs={runs}"])


@cache
def name_run() -> str:
    """Return the name of the run that is damaged."""
    (folder,) = (templates() / "killed").iterdir()
    return folder.name


@cache
def right_loss() -> float:
    """Return the test loss of the weights of the finished run."""
    child = forks.start_fork(templates() / "output", forks.run_app, evaluation(templates() / "finished"))
    os.waitpid(child, 0)
    (folder,) = (templates() / "finished").glob("eval-*")
    shutil.rmtree(folder)
    return read_loss((templates() / "output").read_text(encoding="utf-8"))


def evaluation(runs: Path | str) -> list[str]:
    """Return the command that tests the run, from its weights and not from a result that is stored."""
    return ["eval", f"init={name_run()}", f"runs={runs}", "--json"]


def read_loss(output: str) -> float:
    """Return the loss in the JSON that ends an output."""
    return json.loads(output[output.index("{\n") :])["loss"]


def make_killed(root: Path, random_: random.Random) -> list[list[str]]:
    """Copy the run that was killed; return the command that resumes it."""
    shutil.copytree(templates() / "killed", root / "in")
    return [["pretrain", *SMALL, "runs=in"]]


def make_killed_and_test(root: Path, random_: random.Random) -> list[list[str]]:
    """Copy the run that was killed; return the commands that resume and test it."""
    return [*make_killed(root, random_), evaluation("in")]


def make_finished(root: Path, random_: random.Random) -> list[list[str]]:
    """Copy the finished runs; return a command that reads them."""
    shutil.copytree(templates() / "finished", root / "in")
    export = ["export", f"init={name_run()}", "to=npz", "path=out.npz", "runs=in"]
    return [random_.choice([["compare", "runs=in"], ["pretrain", *SMALL, "runs=in"], evaluation("in"), export])]


def list_damaged(root: Path, pattern: str) -> list[Path]:
    """Return the files of the run that match a pattern."""
    return sorted(path for path in (root / "in" / name_run()).glob(pattern) if path.is_file() and not path.is_symlink())


def edit_json(pattern: str, forge: bool = False) -> damages.Damage:
    """Return a damage to a value of the run's JSON files; ``forge`` hashes a manifest again."""

    def rehash(content: Any, random_: random.Random) -> None:
        if forge and isinstance(content, dict) and random_.random() < 0.7:
            content.pop(manifest.HASH_KEY, None)
            content[manifest.HASH_KEY] = manifest.hash_content(content)

    return damages.edit_json(pattern, lambda root: list_damaged(root, pattern), rehash)


def swap_steps(root: Path, random_: random.Random) -> None:
    """Exchange the folders of two steps, or copy a file of one into the other."""
    folders = sorted(path for path in (root / "in" / name_run() / "checkpoints").glob("step-*") if path.is_dir())
    if len(folders) < 2:
        return
    first, second = random_.sample(folders, 2)
    if random_.random() < 0.5:
        first.rename(spare := first.with_name("spare"))
        second.rename(first)
        spare.rename(second)
        return
    if files := sorted(path for path in first.iterdir() if path.is_file()):
        file = random_.choice(files)
        shutil.copy(file, second / file.name)


def add_step(root: Path, random_: random.Random) -> None:
    """Copy a checkpoint to another step, or make an empty one."""
    folder = root / "in" / name_run() / "checkpoints"
    steps = sorted(path for path in folder.glob("step-*") if path.is_dir())
    names = ["step-00000004", "step-00000009", ".tmp-step-00000004-7", "step-0000000١", "step-999999999999999999"]
    target = folder / random_.choice(names)
    if target.exists():
        return
    if steps and random_.random() < 0.5:
        shutil.copytree(random_.choice(steps), target)
    else:
        target.mkdir()


def check_resumed(root: Path, answers: list[tuple[int | None, str]]) -> str | None:
    """Return what is wrong with a resumed run: its weights, its silence about a fresh start, or its test."""
    (status, output), *tests = answers
    if status == 0:
        run = root / "in" / name_run() / "checkpoints" / "step-00000004"
        right = templates() / "finished" / name_run() / "checkpoints" / "step-00000004"
        for file in ("model.safetensors", "ema.safetensors"):
            if (run / file).read_bytes() != (right / file).read_bytes():
                return f"wrong weights in {file}"
        spoken = f"Resuming from step {STOPPED}", "Rejected", "Starting again", "is finished", "is gone"
        if not any(text in output for text in spoken):
            return "a fresh start in silence"
    return next((problem for answer in tests if (problem := check_test(root, [answer]))), None)


def check_test(root: Path, answers: list[tuple[int | None, str]]) -> str | None:
    """Return whether a test has the loss of other weights."""
    status, output = answers[-1]
    if status == 0 and '"loss"' in output and read_loss(output) != right_loss():
        return f"the loss of other weights: {read_loss(output)}"
    return None


def within(folder: str, damage: damages.Damage) -> damages.Damage:
    """Return a damage to what is below a folder of the run alone."""
    return damages.on_moved(damage, lambda root, random_: root / "in" / name_run() / folder)


MANIFESTS = f"checkpoints/*/{manifest.MANIFEST_FILE}"
FILES = (*damages.WHOLE_FILE, damages.add_special, damages.remove_something, damages.take_permission)
KINDS = {
    "checkpoints": damages.Kind(
        make_killed_and_test,
        (
            *(within("checkpoints", damage) for damage in FILES * 2),
            *(swap_steps, swap_steps, add_step, add_step),
            *(edit_json("checkpoints/*/*.json"), edit_json("metrics.jsonl"), edit_json("about.json")),
        ),
        check_resumed,
    ),
    "manifests": damages.Kind(
        make_killed,
        (edit_json("checkpoints/*/MANIFEST.json"), edit_json("checkpoints/*/MANIFEST.json", True)),
        check_resumed,
    ),
    "recipes": damages.Kind(make_killed, damaged_text.DAMAGES, check_resumed),
    "results": damages.Kind(
        make_finished,
        (
            *(edit_json("result.json"), edit_json("result.json"), edit_json("about.json"), edit_json("metrics.jsonl")),
            *(
                damages.replace_content,
                damages.truncate,
                damages.flip_bits,
                damages.add_special,
                damages.remove_something,
            ),
            *(damaged_text.damage_lines, damaged_text.damage_characters),
        ),
        check_test,
    ),
}
