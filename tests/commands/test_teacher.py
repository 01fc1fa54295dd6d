"""Runs with a teacher: its answers are computed once, and no image that is tested on is trained on."""

import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.overrides import SCRATCH, TINY
from helpers.runs import run_folder
from vitrun import commands, data
from vitrun.commands import runner
from vitrun.engine.trainer import Trainer
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.probes import range_files
from vitrun.probes.teacher import Teacher
from vitrun.runs import execution, naming
from vitrun.runs.lookup import weights_fingerprint
from vitrun.runs.results import load_finished_runs
from vitrun.runs.run_files import load_about
from vitrun.runtime.console import Screen

STUDENT = ("unlabelled=shapes", "unlabelled.train_images=300", "unlabelled.size=32", "data.size=32", "pseudo.ratio=2")
STUDENT += (*TINY,)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of runs of a teacher of the classes of shapes."""
    folder = tmp_path_factory.mktemp("teacher")
    train(folder, *TINY, "data.size=32")
    return folder


@pytest.fixture
def teacher(trained, tmp_path):
    """Return the override that names a teacher in ``tmp_path/runs``."""
    shutil.copytree(trained, tmp_path / "runs")
    return f"teacher={next(trained.glob('pretrain-*')).name}"


def train(runs, *overrides: str):
    """Pretrain in a folder of runs; return the recipe and the result."""
    recipe = runner.resolve_recipe("pretrain", [*overrides, f"runs={runs}"])
    execute = commands.import_command("pretrain").execute
    return recipe, execution.execute_run("pretrain", recipe, Screen(quiet=True), execute)


@pytest.fixture
def labelled(monkeypatch) -> list[int]:
    """Return a list to which each call of a teacher adds the number of images that it labels."""
    numbers, compute = [], Teacher.compute

    def count(self, split, rows, tick):
        numbers.append(len(rows))
        return compute(self, split, rows, tick)

    monkeypatch.setattr(Teacher, "compute", count)
    return numbers


def test_a_student_learns_from_answers_that_are_computed_once(run_command, teacher, labelled):
    recipe, result = run_command("pretrain", *STUDENT, teacher, "augment.mixup=0.2", "pseudo.threshold=0")
    assert sum(labelled) == 300 and np.isfinite(result["loss"])
    about = load_about(run_folder(recipe, "pretrain"))
    assert about["teacher"] == recipe.teacher and len(about["teacher_weights"]) == 64
    log = (run_folder(recipe, "pretrain") / "log.txt").read_text()
    assert "left out: 96 labelled images" in log and "48 bytes per image" in log
    hard = ("pseudo.threshold=0", "pseudo.per_class=40", "pseudo.labels=hard", "micro_batch=5", "pseudo.weight=1")
    _, result = run_command("pretrain", *STUDENT, teacher, *hard)
    assert sum(labelled) == 300 and np.isfinite(result["loss"])
    with pytest.raises(UserError, match="leaves no image") as caught:
        run_command("pretrain", *STUDENT, teacher, "pseudo.threshold=1")
    assert (caught.value.option, caught.value.status) == ("pseudo.threshold", ExitCode.DATA)
    with pytest.raises(UserError, match="120,000,000,000 images") as caught:
        run_command("pretrain", *STUDENT, teacher, "pseudo.per_class=1000000000")
    assert caught.value.option == "pseudo.per_class"
    _, cost = run_command("pretrain", *STUDENT, teacher, "pseudo.temperature=2", dry=True)
    assert cost["images_to_label"] == 300 and cost["labelling_hours"] > 0


@pytest.mark.parametrize(
    ("overrides", "option", "status"),
    [
        (("unlabelled=shapes",), "unlabelled", ExitCode.COMMAND),
        (("teacher=pretrain-x",), "teacher", ExitCode.CHECKPOINT),
        (("teacher=random:vit_nano8", "unlabelled=shapes"), "teacher", ExitCode.COMMAND),
        (("teacher=timm:vit_tiny_patch16_224.augreg_in21k",), "teacher", ExitCode.COMMAND),
        (("pseudo.ratio=0",), "pseudo.ratio", ExitCode.COMMAND),
        (("pseudo.threshold=1.2",), "pseudo.threshold", ExitCode.COMMAND),
        (("pseudo.temperature=0",), "pseudo.temperature", ExitCode.COMMAND),
        (("pseudo.temperature=1e-45",), "pseudo.temperature", ExitCode.COMMAND),
        (("pseudo.labels=smooth",), "pseudo.labels", ExitCode.COMMAND),
        (("pseudo.labels=hard",), "pseudo.labels", ExitCode.COMMAND),
        (("unlabelled=folder",), "unlabelled", ExitCode.COMMAND),
        (("unlabelled=imagenet_v2", "teacher=timm:vit_tiny_patch16_224.augreg_in21k"), "unlabelled", ExitCode.COMMAND),
    ],
)
def test_half_a_procedure_is_refused(overrides, option, status):
    with pytest.raises(UserError) as caught:
        runner.resolve_recipe("pretrain", [*TINY, *overrides])
    assert option in (caught.value.option, str(caught.value).partition("=")[0]) and caught.value.status == status
    assert len(str(caught.value)) < 400


def test_an_image_that_is_tested_on_or_cannot_be_read_is_no_unlabelled_one(tmp_path, teacher):
    test = runner.resolve_recipe("pretrain", [*TINY, "data.size=32"]).data
    folder = tmp_path / "more"
    folder.mkdir()
    for number, pixels in enumerate(data.open_split(test, "test").pixels[:3].numpy()):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"copy {number}.png")
        Image.fromarray(255 - pixels.transpose(1, 2, 0)).save(folder / f"{number}.webp", lossless=True)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n")
    overrides = (*TINY, "data.size=32", teacher, "unlabelled=folder", "pseudo.threshold=0")
    with pytest.raises(UserError, match="1 of 7 unlabelled images") as caught:
        train(tmp_path / "runs", *overrides, f"unlabelled.path={folder}")
    assert (caught.value.option, caught.value.status) == ("bad_images", ExitCode.DATA)
    recipe, _ = train(tmp_path / "runs", *overrides, f"unlabelled.path={folder}", "bad_images=1")
    log = (run_folder(recipe, "pretrain") / "log.txt").read_text()
    assert "left out: 3 test images" in log and "pseudo-labels: 3 of 3 images" in log
    (alone := tmp_path / "alone").mkdir()
    for file in ("broken.png", "copy 0.png"):
        shutil.copy(folder / file, alone)
    with pytest.raises(UserError, match="no readable image") as caught:
        train(tmp_path / "runs", *overrides, f"unlabelled.path={alone}", "bad_images=1")
    assert caught.value.option == "unlabelled.path"


def test_the_name_of_a_run_depends_on_what_is_in_the_weights_of_its_teacher(tmp_path, trained, teacher):
    def name(teacher: str) -> str:
        return naming.run_name("pretrain", runner.resolve_recipe("pretrain", [*STUDENT, teacher, f"runs={runs}"]))

    runs = tmp_path / "runs"
    file = next(trained.glob("*/checkpoints/*/model.safetensors"))
    moved = shutil.copy(file, tmp_path / "moved.safetensors")
    first = name(f"teacher={file}")
    assert first == name(f"teacher={moved}") != name(teacher)
    (tmp_path / "moved.safetensors").write_bytes(file.read_bytes() + b" ")
    assert name(f"teacher={moved}") != first


def test_a_teacher_of_other_classes_is_refused_by_name(run_command, teacher):
    with pytest.raises(UserError, match="it has .*it lacks 0") as caught:
        run_command("finetune", SCRATCH, "data=digits", "res=32", "steps=1", "warmup=0", teacher, "unlabelled=shapes")
    assert (caught.value.option, caught.value.status) == ("teacher", ExitCode.DATA)


def test_rounds_are_runs_of_their_own_and_finished_ones_are_not_repeated(run_command, teacher, labelled, monkeypatch):
    trained, train = [], Trainer.train

    def train_unless_second(self):
        trained.append(self.run.name)
        if len(trained) == 2:
            raise Interrupted(ExitCode.INTERRUPTED)
        return train(self)

    monkeypatch.setattr(Trainer, "train", train_unless_second)
    overrides = (*STUDENT, teacher, "pseudo.threshold=0", "rounds=2", "micro_batch=32", "precision=fp32")
    with pytest.raises(Interrupted):
        run_command("pretrain", *overrides)
    recipe, result = run_command("pretrain", *overrides)
    first, second, again = trained
    assert first != second == again and sum(labelled) == 2 * 300
    assert [(row["round"], row["run"]) for row in result["rounds"]] == [(0, recipe.teacher), (1, first), (2, second)]
    about = load_about(recipe.runs / second)
    assert about["teacher"] == first and result["top1"] == result["rounds"][2]["top1"]
    table, _ = load_finished_runs(recipe.runs)
    assert {run.name for run in table} == {recipe.teacher, first, second}
    _, cost = run_command("pretrain", *overrides, "seed=1", dry=True)
    assert cost["runs"] == 2

    with pytest.raises(UserError, match=f"name it, as in teacher={second}") as caught:
        run_command("pretrain", *STUDENT, "teacher=latest", "rounds=2")
    assert caught.value.option == "teacher"


@pytest.mark.parametrize(
    "command, overrides, message",
    [
        ("pretrain", ("rounds=3",), "add teacher=RUN"),
        (
            "finetune",
            (SCRATCH, "rounds=2", "teacher=timm:vit_tiny_patch16_224.augreg_in21k", "seeds=[0,1]"),
            "leave out",
        ),
    ],
)
def test_rounds_of_nothing_are_refused(command, overrides, message):
    with pytest.raises(UserError, match=message) as caught:
        runner.resolve_recipe(command, [*overrides, *["unlabelled=shapes"] * (len(overrides) > 1)])
    assert caught.value.option == "rounds"


def fail_at(number: int, function):
    """Return a function that raises KeyboardInterrupt at its call of this number, from 1."""
    calls = []

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == number:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return call


def test_a_run_that_is_killed_in_the_labelling_and_in_training_repeats_nothing_and_ends_with_the_same_bits(
    tmp_path, trained, teacher, labelled, monkeypatch
):
    overrides = (*STUDENT, teacher, "save_minutes=0", "augment.cutmix=1", "pseudo.threshold=0", "precision=fp32")
    recipe, result = train(tmp_path / "runs", *overrides)
    name = naming.run_name("pretrain", recipe)
    monkeypatch.setattr(range_files, "FEWEST", 64)
    monkeypatch.setattr(range_files, "MOST", 64)
    for place, stop in ((Teacher, "compute"), (Trainer, "save")):
        labelled.clear()
        shutil.copytree(trained, tmp_path / "killed", dirs_exist_ok=True)
        with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
            killing.setattr(place, stop, fail_at(3, getattr(place, stop)))
            train(tmp_path / "killed", *overrides)
        assert sum(labelled) == (128 if stop == "compute" else 300 - 128)
    labelled.clear()
    _, resumed = train(tmp_path / "killed", *overrides)
    assert not labelled and resumed["loss"] == result["loss"]
    assert weights_fingerprint(name, tmp_path / "killed") == weights_fingerprint(name, tmp_path / "runs")
    shutil.rmtree(tmp_path / "killed" / name)
    _, apart = train(tmp_path / "killed", *overrides, "micro_batch=7")
    assert apart["loss"] == pytest.approx(result["loss"], rel=1e-5)
