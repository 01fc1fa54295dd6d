"""A detector is evaluated by COCO's metrics, with its classes matched, and its boxes written and drawn."""

import csv
import json
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

import vitrun
from helpers.boxes import make_tree, read_tree, write_images
from vitrun.commands import predict, report, runner
from vitrun.commands.detections import match_box_classes
from vitrun.commands.prediction_files import drop_cut_lines
from vitrun.commands.prediction_rows import Columns
from vitrun.data import Split
from vitrun.errors import UserError
from vitrun.plots.boxes import DrawnBox, draw_boxes
from vitrun.runs.detections import load_class_scores
from vitrun.runs.results import Reason, load_finished_runs
from vitrun.runs.run_files import load_result
from vitrun.runtime.console import Screen

SMALL = ("data.train_images=16", "data.test_images=6", "data.size=16", "res=16", "batch=8", "micro_batch=8")
LISTED = read_tree(make_tree())
TEST = Split(LISTED.files, LISTED.table.image_labels(), LISTED.classes, boxes=LISTED.table, named=True)


@pytest.fixture
def detector(run_command):
    """Train a detector for one step; return the name of its run."""
    recipe, _ = run_command("pretrain", "data=boxes", "objective=detection", "steps=1", "warmup=0", *SMALL)
    (folder,) = recipe.runs.glob("pretrain-*")
    return folder


def test_eval_writes_what_a_detector_finds_and_draws_it(run_command, detector):
    recipe, result = run_command("eval", f"init={detector.name}")
    (folder,) = recipe.runs.glob("eval-*")
    assert result["images_used"] == 6 and 0 <= result["AP"] <= result["AP50"] <= 1
    detections = json.loads((folder / "detections.json").read_text())
    assert len(detections) == 6 * 10 and {row["image_id"] for row in detections} == {1, 2, 3, 4, 5, 6}
    with Image.open(folder / "boxes.png") as image:
        assert image.width > 6 * 300
    _, rectangles = run_command("eval", f"init={detector.name}", "view.resize=rectangle_16", "res=32", "batch=2")
    assert rectangles["view"]["resize"] == "rectangle_16" and 0 <= rectangles["AP"] <= 1
    finished, left_out = load_finished_runs(recipe.runs, repeats=False)
    assert {run.facts["view"] for run in finished if run.command == "eval"} == {"rectangles cut to 16 bilinear"}
    assert [run.name for run in left_out if run.reason is Reason.REPEATED] == [folder.name]
    for view, why in (("view.crop=0.8", "leaves out parts"), ("view.resize=rectangle", "take rectangle_16 or square")):
        with pytest.raises(UserError, match=why) as raised:
            run_command("eval", f"init={detector.name}", view)
        assert raised.value.option == "view.resize"


def test_the_page_of_a_detector_has_its_metrics_its_classes_and_its_boxes(detector):
    scores = load_class_scores(detector)
    shown = [score.ap for score in scores if not np.isnan(score.ap)]
    ap = load_result(detector)["AP"]
    assert len(scores) == 8 and sum(score.objects for score in scores) == load_result(detector)["objects"]
    assert np.mean(shown) == pytest.approx(ap, abs=1e-6), "AP is the mean over the classes that have objects"

    def read_page() -> str:
        overrides = [f"runs={detector.parent}", f"save={detector.parent / 'page.html'}", "force=true"]
        report.execute(runner.resolve_recipe("report", overrides), Screen(quiet=True))
        return (detector.parent / "page.html").read_text()

    page = read_page()
    assert f"Boxes on boxes: {detector.name}" in page and "AP by class" in page and "data:image/jpeg;base64," in page
    assert all(f">{name}<" in page for name in ("AP", "AP50", "AR100"))
    (detector / "ap_by_class.csv").write_text("class,objects,AP,AP50\ncat,many,0.5,0.5\n")
    (detector / "boxes.png").write_bytes(b"no picture")
    page = read_page()
    assert "is damaged" in page and "cannot be shown" in page


def test_a_missing_pycocotools_and_a_loss_of_labels_are_named_before_training(run_command, monkeypatch):
    with pytest.raises(UserError, match="objective=detection"):
        run_command("pretrain", "data=boxes", "steps=1", "warmup=0", *SMALL)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"vitrun\[detection\]"):
        run_command("pretrain", "data=boxes", "objective=detection", "steps=1", "warmup=0", *SMALL)


@pytest.mark.parametrize(("names", "number", "expected"), [
    (("dog", "N/A", "cat"), 3, [1, -1, 0]),  # by name
    ((), 2, [0, 1]),  # by order
    ((), 91, [-1, -1, -1, 0, *[-1] * 86, 1]),  # by the ids of categories
])  # fmt: skip
def test_classes_are_matched_by_name_by_id_or_by_order(names, number, expected):
    recipe = SimpleNamespace(match="name", init="WEIGHTS", data=SimpleNamespace(name="coco"))
    loaded = SimpleNamespace(names=names, classes=number)
    assert match_box_classes(recipe, loaded, TEST).tolist() == expected


def test_a_class_that_a_detector_lacks_is_an_error():
    recipe = SimpleNamespace(match="name", init="WEIGHTS", data=SimpleNamespace(name="coco"))
    with pytest.raises(UserError, match="1 class that WEIGHTS was not trained to find: dog"):
        match_box_classes(recipe, SimpleNamespace(names=("cat", "fox"), classes=2), TEST)
    order = SimpleNamespace(**{**vars(recipe), "match": "order"})
    assert match_box_classes(order, SimpleNamespace(names=("cat", "fox"), classes=2), TEST).tolist() == [0, 1]


def test_boxes_are_drawn_where_they_are():
    pixels = np.zeros((3, 20, 40), np.uint8)
    image = np.asarray(draw_boxes(pixels, [DrawnBox((10, 5, 30, 15), "cat 90%", 0)], 400, 400))
    assert image.shape == (200, 400, 3)
    rows, columns = np.nonzero(image.any(2))
    assert (columns.min(), columns.max()) == (100, 299) and rows.max() == 149
    outside = draw_boxes(pixels, [DrawnBox((50, 5, 70, 15), "cat", 1), DrawnBox((-9, -9, 99, 99))], 40, 40)
    assert np.asarray(outside).any()


def predict_into(folder, detector, *overrides):
    """Run predict with a detector on the images of a folder; return what it returns."""
    paths = tuple(sorted(map(str, folder.glob("*.*"))))
    given = [f"init={detector}", f"runs={detector.parent}", "min_score=0", *overrides]
    return predict.execute(runner.resolve_recipe("predict", given, bare={"paths": paths}), Screen(quiet=True))


def test_predict_lists_and_draws_the_objects_of_ones_own_images(detector, tmp_path):
    photos = tmp_path / "photos"
    write_images(photos, make_tree(3))
    table, drawn = tmp_path / "found.csv", tmp_path / "drawn"
    predict_into(photos, detector, f"save={table}", f"draw={drawn}")
    rows = list(csv.DictReader(table.open()))
    assert [row["path"] for row in rows] == [str(photos / f"{row:03}.png") for row in range(3) for _ in range(10)]
    assert all(row["objects"] == "10" and 0 <= float(row["probability"]) <= 1 and row["class"] for row in rows)
    assert sorted(path.name for path in drawn.glob("*.png")) == ["000.png", "001.png", "002.png"]
    content = table.read_bytes()
    cut = content[: content.rindex(b"\n", 0, -1) + 1]  # of the last image one object is missing
    assert drop_cut_lines(cut, Columns(None))[0].count(b"\n") == 1 + 2 * 10
    assert drop_cut_lines(content, Columns(None))[0] == content
    rectangles = tmp_path / "rectangles.csv"
    predict_into(photos, detector, f"save={rectangles}", "view.resize=rectangle_16", "res=32", "batch=2")
    assert [row["path"] for row in csv.DictReader(rectangles.open())] == [row["path"] for row in rows]
    none = vitrun.predict([str(photos / "000.png")], [f"init={detector}", f"runs={detector.parent}", "min_score=1"])
    assert none[0]["boxes"] == []
    with pytest.raises(UserError, match="not what vitrun wrote") as raised:
        predict_into(photos, detector, f"draw={photos}")
    assert raised.value.option == "draw"


def test_an_image_that_cannot_be_read_has_a_row_in_files_of_objects(detector, tmp_path):
    photos, names = tmp_path / "photos", ("000.png", "cut.png", "001.png")
    write_images(photos, make_tree(2))
    (photos / "cut.png").write_bytes((photos / "000.png").read_bytes()[:40])
    for suffix in ("csv", "parquet"):
        with pytest.raises(UserError, match="1 of 3 images cannot be read"):
            predict_into(photos, detector, f"save={tmp_path / f'objects.{suffix}'}")
    with open(tmp_path / "objects.csv", newline="") as file:
        lines = [*csv.reader(file)]
    assert {len(line) for line in lines} == {len(Columns(None).header)} and len(lines) == 1 + 2 * 10 + 1
    (unreadable,) = (line for line in lines if line[0] == str(photos / "cut.png"))
    assert unreadable[1:-1] == ["0", *[""] * 6] and unreadable[-1]
    rows = pyarrow.parquet.read_table(tmp_path / "objects.parquet").to_pylist()
    assert {row["path"]: len(row["boxes"]) for row in rows} == {
        str(photos / name): 0 if name == "cut.png" else 10 for name in names
    }
