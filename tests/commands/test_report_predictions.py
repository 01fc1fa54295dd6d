"""report: its numbers of predictions equal a recomputation from preds.parquet, and mistakes are the right pictures."""

import base64
import csv
import io
import re
import shutil

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from helpers.overrides import SCRATCH
from helpers.runs import run_folder
from vitrun import data
from vitrun.commands import report, runner
from vitrun.commands.report import thumbnails
from vitrun.config import resolve
from vitrun.recipes import tables
from vitrun.runtime.console import Screen


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Return the folder of a short fine-tuning on digits."""
    overrides = [SCRATCH, "data=digits", "res=32", "steps=4", "batch=16", f"runs={tmp_path_factory.mktemp('runs')}"]
    recipe = resolve.resolve_recipe("finetune", overrides)
    runner.execute_recipe("finetune", overrides, recipe, Screen(quiet=True), dry=False)
    return run_folder(recipe, "finetune")


@pytest.fixture(scope="module")
def page(evaluated):
    return read_page(evaluated)


def read_page(folder) -> str:
    """Return the page about all runs beside a run."""
    file = folder.parent / "page.html"
    overrides = [f"runs={folder.parent}", f"save={file}", "force=true"]
    report.execute(resolve.resolve_recipe("report", overrides), Screen(quiet=True))
    return file.read_text(encoding="utf-8")


def read_data(page: str, name: str) -> list[dict[str, str]]:
    """Return the data of the chart whose file's name begins like this."""
    (code,) = re.findall(rf'download="{name}[^"]*\.csv" href="data:text/csv;base64,([^"]*)"', page)
    return list(csv.DictReader(io.StringIO(base64.b64decode(code).decode())))


def test_the_numbers_of_the_page_are_those_of_the_predictions(evaluated, page):
    table = pyarrow.parquet.read_table(evaluated / "preds.parquet").to_pydict()
    labels, answers = np.array(table["label"]), np.array(table["top5"])[:, 0]
    assert f"<dd>{(labels == answers).mean():.2%}</dd>" in page
    for row in read_data(page, "class_accuracy"):
        own = labels == int(row["index"])
        assert int(row["images"]) == own.sum()
        assert float(row["accuracy (%)"]) == pytest.approx(100 * (answers[own] == labels[own]).mean())
    counts = {(row["label"], row["prediction"]): int(row["images"]) for row in read_data(page, "confusion")}
    pairs = [(str(label), str(answer)) for label, answer in zip(labels, answers)]
    assert counts == {pair: pairs.count(pair) for pair in pairs}
    assert sum(int(row["images"]) for row in read_data(page, "reliability")) == len(labels)


def test_the_surest_mistakes_are_the_images_of_these_names(evaluated, page):
    table = pyarrow.parquet.read_table(evaluated / "preds.parquet").to_pydict()
    wrong = [row for row, top in enumerate(table["top5"]) if top[0] != table["label"][row]]
    surest = max(table["probabilities"][row][0] for row in wrong)
    shown = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="Test image (\S+): (\d+), taken for (\d+)', page)
    keys = {key: row for row, key in enumerate(table["id"])}
    assert len(shown) == 24 and table["probabilities"][keys[shown[0][1]]][0] == surest
    split = data.open_split(tables.load_data_row("digits"), "test")
    for code, key, label, answer in shown:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))).transpose(2, 0, 1)
        assert np.array_equal(pixels, split.pixels[list(split.keys).index(key)].numpy())
        row = keys[key]
        assert (str(table["label"][row]), str(table["top5"][row][0])) == (label, answer)


@pytest.mark.parametrize(
    "options, fingerprint, reason",
    [
        (tables.read_row("data", "digits"), "0" * 16, "the data have changed"),
        (tables.read_row("data", "imagenet"), None, "fetched"),
        (tables.read_row("data", "pets") | {"path": "/nowhere"}, None, "/nowhere"),
    ],
    ids=["changed", "not downloaded", "gone"],
)
def test_pictures_that_cannot_be_had_are_answered_with_the_reason(options, fingerprint, reason):
    with pytest.raises(thumbnails.NoImages, match=reason):
        thumbnails.load_thumbnails(options, fingerprint, ["digit-1"])


def test_damaged_predictions_are_named_and_the_rest_of_the_page_is_there(evaluated, tmp_path):
    copy = tmp_path / "runs" / evaluated.name
    shutil.copytree(evaluated, copy)
    (copy / "preds.parquet").write_bytes(b"PAR1 no")
    page = read_page(copy)
    assert "preds.parquet is damaged" in page and "What was run" in page and "<img" not in page


def test_a_data_set_whose_best_run_has_no_predictions_is_named(evaluated, page, tmp_path):
    folder = tmp_path / "runs" / evaluated.name
    shutil.copytree(evaluated, folder)
    (folder / "preds.parquet").unlink()
    text = re.sub("<wbr>", "", read_page(folder))
    assert f"the best run, {folder.name}, has no preds.parquet" in text and f"vitrun eval init={folder.name}" in text
    assert "has no preds.parquet" not in re.sub("<wbr>", "", page)
