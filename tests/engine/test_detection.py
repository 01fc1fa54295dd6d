"""Detections are measured as pycocotools measures them, and written in COCO's form."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.boxes import make_tree, read_tree
from vitrun import models
from vitrun.data import Split
from vitrun.engine.coco_metrics import measure_boxes
from vitrun.engine.detection import FoundBoxes, decode_detections, find_boxes
from vitrun.engine.inputs import make_rectangle_batches
from vitrun.errors import UserError
from vitrun.recipes import View, tables
from vitrun.runs.metrics import DETECTION_METRICS
from vitrun.runtime.device import Machine


def find_all(table, score=0.9):
    """Return detections that are the true boxes of a table."""
    counts = np.diff(table.starts)
    shape = (len(table), counts.max())
    scores, labels, corners = np.full(shape, score), np.full(shape, -1), np.zeros((*shape, 4))
    for row, (first, last) in enumerate(zip(table.starts, table.starts[1:])):
        labels[row, : last - first], corners[row, : last - first] = table.labels[first:last], table.corners[first:last]
    return FoundBoxes(scores, labels, corners, np.arange(len(table)), table)


@pytest.mark.shared
def test_the_twelve_metrics_are_those_of_the_reference(shared):
    golden = json.loads((shared / "golden/family/coco_ap.json").read_text())
    table = read_tree(golden["truth"]).table
    images, categories = ([*ids].index for ids in (table.image_ids, table.category_ids))
    rows = [[images(d["image_id"]), *d["bbox"], d["score"], categories(d["category_id"])] for d in golden["found"]]
    metrics = measure_boxes(table, np.array(rows)).metrics
    assert [*metrics] == [*golden["stats"]] == [*DETECTION_METRICS]
    assert max(abs(metrics[name].mean - value) for name, value in golden["stats"].items()) < 1e-9


def test_true_boxes_score_one_and_no_boxes_zero_and_sizes_without_objects_are_left_out():
    table = read_tree(make_tree()).table  # all objects are small
    metrics = find_all(table).measured.metrics
    assert {"APs", "AR100"} <= metrics.keys() and not {"APm", "APl", "ARl"} & metrics.keys()
    assert metrics["AP"].mean == metrics["AP50"].mean == metrics["ARs"].mean == 1
    assert measure_boxes(table, np.empty((0, 7))).metrics["AP"].mean == 0


def test_what_is_found_in_a_crowd_does_not_count():
    tree = make_tree()
    table = read_tree(tree).table
    crowd = np.zeros(len(table.labels), bool)
    crowd[::2] = True
    found = find_all(replace(table, crowd=crowd)).measured
    assert found.metrics["AP"].mean == 1


def test_classes_that_the_data_lacks_are_dropped():
    found = find_all(read_tree(make_tree()).table)
    assert len(found.to_rows()) == 8
    assert len(replace(found, labels=np.full_like(found.labels, -1)).to_rows()) == 0


def test_the_file_of_detections_measures_the_same_by_pycocotools(tmp_path):
    coco, evaluation = (pytest.importorskip(f"pycocotools.{name}") for name in ("coco", "cocoeval"))
    tree = make_tree(12, 3)
    table = read_tree(tree).table
    generator, found = np.random.default_rng(0), find_all(table)
    found = replace(
        found,
        corners=found.corners + generator.normal(0, 1.5, found.corners.shape),
        scores=generator.uniform(0, 1, found.scores.shape),
    )
    found.write(tmp_path / "found.json")
    (tmp_path / "truth.json").write_text(json.dumps(tree))
    truth = coco.COCO(tmp_path / "truth.json")
    measured = evaluation.COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
    measured.evaluate()
    measured.accumulate()
    measured.summarize()
    metrics = found.measured.metrics
    assert 0.1 < metrics["AP"].mean < 0.9
    assert all(metric.mean == measured.stats[DETECTION_METRICS.index(name)] for name, metric in metrics.items())


def test_a_query_answers_its_likeliest_class_after_the_last_layer_in_pixels():
    logits = torch.full((1, 2, 1, 4), -9.0)
    logits[0, 0, 0, 2] = logits[0, 1, 0, 1] = logits[0, 1, 0, 3] = 9.0  # the last class is "no object"
    boxes = torch.tensor([0.5, 0.5, 0.5, 1.0]).expand(1, 2, 1, 4)
    scores, labels, corners = decode_detections(logits, boxes, torch.tensor([[30, 40]]))
    assert labels.tolist() == [[1]] and abs(scores.item() - 0.5) < 1e-6
    assert corners.tolist() == [[[10, 0, 30, 30]]]


def test_without_pycocotools_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"pip install 'vitrun\[detection\]'"):
        _ = find_all(read_tree(make_tree()).table).measured


def test_rectangles_are_found_in_the_same_whether_they_are_padded_or_not():
    """Padding is left out by an encoder and decoder whose body, here a convolution of patches, mixes none of it in."""
    tree, generator = make_tree(3), np.random.default_rng(0)
    for image, (width, height) in zip(tree["images"], ((60, 40), (40, 60), (50, 50))):
        image |= {"width": width, "height": height}
    listed = read_tree(tree)
    images = [generator.integers(0, 256, (*size, 3), np.uint8) for size in listed.table.sizes.tolist()]
    split = Split(
        listed.files, listed.table.image_labels(), listed.classes, read_encoded=images.__getitem__, boxes=listed.table
    )
    row = replace(tables.load_model_row("yolos_nano"), encoder=1, decoder=1, width=32, heads=2, mlp=32)
    torch.manual_seed(0)
    network = models.build(row, 2, 32)
    network.features_map = torch.nn.Conv2d(3, row.body.width, 16, 16).forward
    view = View(resize="rectangle_16", crop=1.0, antialias=True, interpolation="bilinear", fill=(0, 255, 0))
    machine = Machine("cpu", "fp32")
    one, padded = (
        find_boxes(network, make_rectangle_batches(split, 32, view, batch, machine), machine, lambda _: None)
        for batch in (1, 3)
    )
    np.testing.assert_array_equal(padded.indices, [0, 1, 2])
    np.testing.assert_allclose(padded.corners, one.corners, atol=1e-3)
    np.testing.assert_allclose(padded.scores, one.scores, atol=1e-5)
