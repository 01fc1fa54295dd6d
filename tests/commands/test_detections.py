"""A detector is evaluated by COCO's figures, with its classes matched, and its boxes written and drawn."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from helpers.boxes import make_tree
from vitrun.commands.detections import match_box_classes
from vitrun.data import Split
from vitrun.data.sources.coco.annotations import check_tree
from vitrun.errors import UserError
from vitrun.plots.boxes import DrawnBox, draw_boxes

SMALL = ("data.train_images=16", "data.test_images=6", "data.size=16", "res=16", "batch=8", "micro_batch=8")
LISTED = check_tree(make_tree())
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
    found = json.loads((folder / "detections.json").read_text())
    assert len(found) == 6 * 10 and {row["image_id"] for row in found} == {1, 2, 3, 4, 5, 6}
    with Image.open(folder / "boxes.png") as image:
        assert image.width > 6 * 300
    with pytest.raises(UserError, match="leaves out parts") as raised:
        run_command("eval", f"init={detector.name}", "view.crop=0.8")
    assert raised.value.option == "view.resize"


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
