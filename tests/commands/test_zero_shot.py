"""A CLIP from its pairs to its answers: pretraining, zero-shot, retrieval and predictions."""

import csv

import pyarrow.parquet
import pytest

from helpers.images import make_png, write_class_folders
from helpers.runs import run_folder
from vitrun.commands import predict
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import folder_content
from vitrun.runtime.console import Screen

CLIP = ["objective=contrastive", "data.train_images=96", "data.test_images=50", "batch=32", "steps=4", "warmup=1"]
RECALLS = [f"{kind}_recall{k}" for kind in ("text", "image") for k in (1, 5, 10)]


def test_a_clip_is_evaluated_on_labels_and_on_captions(run_command, tmp_path):
    recipe, trained = run_command("pretrain", *CLIP)
    assert all(0 <= trained[name] <= 1 for name in RECALLS) and trained["test_captions"] == 50
    evaluated, result = run_command("eval")
    assert {"top1", "top5", "top1_per_class", "ece", "loss", *RECALLS} <= {*result} and result["images_used"] == 50
    assert result["test_captions"] == 100, "both captions of an image"
    table = pyarrow.parquet.read_table(run_folder(evaluated, "eval") / "preds.parquet")
    assert table.num_rows == 50 and "label" in table.column_names
    digits, first = run_command("eval", "data=digits", "data.test_images=20")
    _, other = run_command("eval", "data=digits", "data.test_images=20", "prompts='the number {}'")
    assert first["loss"] != other["loss"] and "text_recall1" not in first
    (tmp_path / "prompts.txt").write_text("a picture of {}")
    file = ["data=digits", "data.test_images=20", f"prompts={tmp_path / 'prompts.txt'}"]
    before, _ = run_command("eval", *file)
    name = run_folder(before, "eval").name
    (tmp_path / "prompts.txt").write_text("the digit {}")
    folder_content.examine_real_path.cache_clear()  # as another command begins
    assert run_folder(before, "eval").name != name, "another content of the file is another run"
    assert "digits has none of its own" in (run_folder(digits, "eval") / "log.txt").read_text()
    for n in range(4):
        (tmp_path / f"{n}.png").write_bytes(make_png(n))
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *((f"{n}.png", f"{n} of 4") for n in range(4))])
    _, retrieved = run_command("eval", "data=captions", f"data.path={tmp_path / 'pairs.csv'}", "data.train=null")
    assert {*RECALLS} <= {*retrieved} and "top1" not in retrieved and retrieved["image_recall5"] == 1
    with pytest.raises(UserError, match="has captions alone"):
        run_command("eval", "data=captions", f"data.path={tmp_path / 'pairs.csv'}", "data.train=null", "prompts='a {}'")
    check_predictions(recipe.runs, tmp_path)


def check_predictions(runs, folder) -> None:
    """Assert that the newest CLIP classifies one's own images by one's own words."""
    overrides = [f"runs={runs}", f"paths=[{folder}/0.png]", f"save={folder}/out.csv"]
    recipe = resolve.resolve_recipe("predict", [*overrides, "prompts=a cat, a dog"])
    assert predict.execute(recipe, Screen(quiet=True))["images"] == 1
    assert {"a cat", "a dog"} <= {*(folder / "out.csv").read_text().splitlines()[1].split(",")}
    with pytest.raises(UserError, match="names no classes") as error:
        predict.execute(resolve.resolve_recipe("predict", [f"runs={runs}", overrides[1]]), Screen(quiet=True))
    assert error.value.status == ExitCode.COMMAND


def test_labels_alone_become_captions_by_templates(run_command, tmp_path):
    folder = write_class_folders(tmp_path / "data", ["red_fox", "owl"], 4)
    data = ["data=folder", f"data.path={folder}", "data.test_share=0.5", "bad_images=0", "batch=4", "steps=2"]
    recipe, result = run_command("pretrain", "objective=contrastive", *data, "warmup=0", "res=32")
    assert result["test_captions"] == 4
    log = (run_folder(recipe, "pretrain") / "log.txt").read_text()
    assert "captions of classes" in log and "a photo of a owl." in log or "a photo of a red fox." in log


def test_what_a_network_without_a_text_tower_cannot_do_is_refused(run_command, tmp_path):
    run_command("pretrain", "data.train_images=96", "data.test_images=50", "batch=32", "steps=2", "warmup=1")
    (tmp_path / "0.png").write_bytes(make_png(0))
    (tmp_path / "0.txt").write_text("a caption")
    for overrides, part in (
        (["data=captions", f"data.path={tmp_path}", "data.train=null"], "has no text tower"),
        (["prompts='a {}'"], "has no text tower"),
    ):
        with pytest.raises(UserError, match=part) as error:
            run_command("eval", *overrides)
        assert error.value.status == ExitCode.COMMAND and len(str(error.value)) < 400
