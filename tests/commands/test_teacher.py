"""Runs with a teacher: its answers are computed once, and no image that is tested on is trained on."""

import numpy as np
import pytest

from helpers.overrides import SCRATCH, TINY
from helpers.runs import run_folder
from vitrun.commands import runner
from vitrun.engine.trainer import Trainer
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.probes.teacher import Teacher
from vitrun.runs.results import load_finished_runs
from vitrun.runs.run_files import load_about

STUDENT = ("unlabelled=shapes", "unlabelled.train_images=300", "unlabelled.size=32", "data.size=32", "pseudo.ratio=2")
STUDENT += (*TINY,)


@pytest.fixture
def teacher(run_command):
    """Return the override that names a teacher of the classes of shapes."""
    recipe, _ = run_command("pretrain", *TINY, "data.size=32")
    return f"teacher={run_folder(recipe, 'pretrain').name}"


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
    assert "left out: 96 labelled images" in log and "48 bytes an image" in log
    hard = ("pseudo.threshold=0", "pseudo.per_class=40", "pseudo.labels=hard", "micro_batch=5", "pseudo.weight=1")
    _, result = run_command("pretrain", *STUDENT, teacher, *hard)
    assert sum(labelled) == 300 and np.isfinite(result["loss"])
    with pytest.raises(UserError, match="leaves no image") as caught:
        run_command("pretrain", *STUDENT, teacher, "pseudo.threshold=1")
    assert (caught.value.option, caught.value.status) == ("pseudo.threshold", ExitCode.DATA)
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
