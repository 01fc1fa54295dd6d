"""pretrain, end to end on a few images."""

import pytest

from helpers.overrides import TINY
from helpers.runs import run_folder
from vitrun import commands
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import execution
from vitrun.runtime.console import Screen


def test_a_run_with_augmentation_is_tested_without_it(run_command):
    overrides = ("augment=strong2", "smoothing=0.1", "loss=sigmoid", "head_bias=-6.9", "data.flip=true")
    recipe, result = run_command("pretrain", *TINY, *overrides)
    assert recipe.augment.mixup == 0.8 and result["loss"] > 0 and result["test_images"] == 50


def test_a_finished_run_shows_its_result_and_is_not_repeated(run_command):
    recipe, first = run_command("pretrain", *TINY)
    before = (run_folder(recipe, "pretrain") / "metrics.jsonl").read_text()
    _, second = run_command("pretrain", *TINY)
    assert first == second and (run_folder(recipe, "pretrain") / "metrics.jsonl").read_text() == before


def test_a_dry_run_writes_nothing(run_command, tmp_path):
    _, result = run_command("pretrain", *TINY, dry=True)
    assert result["hours"] > 0 and result["memory_gb"] > 0
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_estimates_by_the_published_sizes_and_downloads_nothing(run_command, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # no server
    overrides = ("model=vit_nano8", "data=imagenet", "res=32", "batch=32", "epochs=1", "warmup=1")
    _, result = run_command("pretrain", *overrides, dry=True)
    assert result["steps"] == round(1_281_167 / 32) and result["hours"] > 0


def test_a_folder_of_ones_own_is_trained_on_with_one_override(run_command, photographs):
    overrides = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    _, result = run_command("pretrain", *overrides)
    assert result["test_images"] == 8


def test_images_beside_the_runs_folder_are_found_by_every_command(monkeypatch, photographs, tmp_path):
    overrides = ("model=vit_nano8", "data=folder", "data.path=.", "batch=4", "warmup=1")
    for place in (photographs, photographs / "train"):  # split by folders, and by names
        monkeypatch.chdir(place)
        for command, more in (
            ("pretrain", ("steps=3", *overrides)),
            ("eval", ()),
            ("pretrain", ("steps=2", *overrides)),
        ):
            made = resolve.resolve_recipe(command, [*more])
            result = execution.execute_run(command, made, Screen(quiet=True), commands.import_command(command).execute)
            assert result["top5"] == 1


def test_a_damaged_image_is_named(run_command, photographs):
    (photographs / "train" / "cat" / "0.jpg").write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match=r"cat/0.jpg is not a readable image \(16 bytes.*html") as error:
        run_command(
            "pretrain", "model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=12", "steps=2", "warmup=0"
        )
    assert error.value.status == ExitCode.DATA
    assert not any((photographs.parent / "runs").iterdir()), "a run without a step leaves no folder"
