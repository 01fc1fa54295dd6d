"""evaluate: data and view come from the run unless overridden."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.overrides import TINY
from vitrun import data
from vitrun.commands.evaluate import check_class_names
from vitrun.config import provenance, resolve
from vitrun.errors import UserError


def test_eval_takes_the_view_of_the_run_unless_overridden(run_command):
    view = ("view.resize=small", "view.crop=0.5", "view.antialias=false")
    _, trained = run_command("pretrain", *TINY, *view)
    recipe, result = run_command("eval")
    assert (recipe.view.resize, recipe.view.crop, recipe.view.antialias) == ("small", 0.5, False)
    assert (result["top1"], result["loss"]) == (trained["top1"], pytest.approx(trained["loss"], rel=1e-3))
    other, uncropped = run_command("eval", "view.crop=1")
    assert (other.view.resize, other.view.crop) == ("small", 1.0) and uncropped["loss"] != result["loss"]
    defaults = resolve.resolve_recipe("eval", ["init=random:vit_nano8", "data=digits"])
    assert (defaults.view.resize, defaults.view.crop, defaults.view.antialias) == ("square", 1.0, True)


def test_eval_takes_the_data_of_the_run_with_what_the_overrides_change(run_command):
    recipe, _ = run_command("pretrain", *TINY, "data.size=48")
    changed, result = run_command("eval", "data.test_images=30")
    assert result["images_used"] == 30 and changed.data == replace(recipe.data, test_images=30)
    with pytest.raises(UserError, match=r"Did you mean data\.test_images\?"):
        run_command("eval", "data.test_image=30")
    overrides = [f"runs={recipe.runs}", "data.test_images=30"]
    shown = provenance.format_config("eval", overrides, resolve.resolve_recipe("eval", overrides))
    where = {line.split("=")[0]: line.partition("# ")[2] for line in shown.splitlines()}
    assert where["data.test_images"] == "command line" and where["data.size"] == "the run that init names"


def test_a_head_with_another_number_of_classes_is_refused(run_command):
    run_command("pretrain", *TINY)
    with pytest.raises(UserError, match="120 classes, but digits has 10"):
        run_command("eval", "data=digits")


def test_other_class_names_cause_a_warning_and_another_order_an_error(run_command, photographs, tmp_path, capsys):
    overrides = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    run_command("pretrain", *overrides)
    other = shutil.copytree(photographs, tmp_path / "other")
    for part in other.iterdir():
        (part / "dog").rename(part / "wolf")
    run_command("eval", "data=folder", f"data.path={other}")
    assert "class 1 is dog for pretrain-" in capsys.readouterr().err
    for part in other.iterdir():
        (part / "cat").rename(part / "zebra")
        (part / "wolf").rename(part / "cat")
        (part / "zebra").rename(part / "dog")
    run_command("eval", "data=folder", f"data.path={other}", "batch=5")
    assert "matched by order" not in capsys.readouterr().err, "the same names in the same order"
    with pytest.raises(UserError, match="on these classes in another order: its class 0 is cat, here it is dog"):
        check_class_names(("cat", "dog"), replace(open_test_split(other), classes=("dog", "cat")), "it", print)


def open_test_split(root: Path) -> data.Split:
    return data.open_split(
        resolve.resolve_recipe("eval", ["init=random:vit_nano8", "data=folder", f"data.path={root}"]).data, "test"
    )
