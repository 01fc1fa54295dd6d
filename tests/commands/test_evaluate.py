"""evaluate: data and view come from the run unless overridden."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from helpers.images import make_png, write_class_folders
from helpers.overrides import TINY
from helpers.runs import run_folder
from vitrun.config import provenance, resolve
from vitrun.errors import ExitCode, UserError


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


def test_classes_are_matched_by_name(run_command, photographs, tmp_path, capsys):
    overrides = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    run_command("pretrain", *overrides)
    everything, _ = load_predictions(run_command, photographs)
    other = shutil.copytree(photographs / "test", tmp_path / "other")
    some, result = load_predictions(run_command, other, "data.train=null", "batch=5")
    assert some == everything
    (other / "dog").rename(other / "ant")
    refused = "other has 1 class that .* was not trained on: ant.* match=known .* match=order"
    with pytest.raises(UserError, match=refused) as error:
        run_command("eval", "data=folder", f"data.path={other}", "data.train=null")
    assert (error.value.status, error.value.option) == (ExitCode.DATA, "match")
    known, result = load_predictions(run_command, other, "data.train=null", "match=known")
    assert known == {key: label for key, label in everything.items() if key.startswith("cat/")}
    assert result["images_used"] == len(known) < result["images_expected"]
    load_predictions(run_command, other, "data.train=null", "match=order")
    assert "class 0 is cat for pretrain-" in capsys.readouterr().err


def load_predictions(run_command, folder: Path, *overrides: str) -> tuple[dict[str, tuple], dict]:
    """Return the label and the answers of each image by its key, and the result of ``vitrun eval``."""
    recipe, result = run_command("eval", "data=folder", f"data.path={folder}", *overrides)
    file = max(recipe.runs.glob("eval-*/preds.parquet"), key=lambda path: path.stat().st_mtime_ns)
    table = pyarrow.parquet.read_table(file).to_pylist()
    return {row["id"]: (row["label"], row["top5"]) for row in table}, result


def test_test_images_that_the_weights_were_trained_on_are_refused_or_named(run_command, tmp_path, capsys):
    folder = write_class_folders(tmp_path / "photos", ["cat", "dog"], 6)
    overrides = ["data=folder", f"data.path={folder}", "data.test_share=0.34"]
    steps = ["model=vit_nano8", "batch=8", "steps=2", "warmup=1", "res=16"]
    recipe, _ = run_command("pretrain", *overrides, *steps)
    init = f"init={run_folder(recipe, 'pretrain').name}"
    folder = folder.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"data.split_seed=1: \d of the 4 test images were training images of") as error:
        run_command("eval", init, f"data.path={folder}", "data.split_seed=1")
    assert error.value.status == ExitCode.DATA and len(str(error.value)) < 400
    with pytest.raises(UserError, match=r"data.test_share=0.5: 2 of the 6 test images"):
        run_command("eval", init, f"data.path={folder}", "data.test_share=0.5")
    run_command("eval", init, f"data.path={folder}")
    other = write_class_folders(tmp_path / "other", ["cat", "dog"], 7)
    run_command("eval", init, f"data.path={other}", "data.split_seed=1")
    assert "training images of" not in " ".join(capsys.readouterr().err.split())
    run_command("fewshot", init, *overrides[:1], f"data.path={folder}", "shots=1", "data.test_share=0.5")
    assert "2 of the 6 test images were training images of" in " ".join(capsys.readouterr().err.split())


def test_captions_and_digits_that_the_weights_were_trained_on_are_refused_or_named(run_command, tmp_path, capsys):
    for n in range(12):
        (tmp_path / f"{n}.png").write_bytes(make_png(n))
        (tmp_path / f"{n}.txt").write_text(f"number {n}")
    captions = ["data=captions", f"data.path={tmp_path}"]
    recipe, _ = run_command("pretrain", "objective=contrastive", *captions, "batch=4", "steps=1", "warmup=0", "res=32")
    init = f"init={run_folder(recipe, 'pretrain').name}"
    with pytest.raises(
        UserError, match=r"data.test_share=0.5: 5 of the 6 test images were training images of"
    ) as error:
        run_command("eval", init, "data.test_share=0.5")
    assert error.value.status == ExitCode.DATA and len(str(error.value)) < 400
    recipe, _ = run_command("pretrain", "data=digits", "model=vit_nano8", "batch=8", "steps=1", "warmup=0", "res=16")
    init = f"init={run_folder(recipe, 'pretrain').name}"
    with pytest.raises(UserError, match=r"data.test_images=510: 10 of the 510 test images"):
        run_command("eval", init, "data.test_images=510")
    run_command("eval", init, "data.test_images=20")
    assert "training images of" not in " ".join(capsys.readouterr().err.split())
