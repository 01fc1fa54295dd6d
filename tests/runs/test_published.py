"""A run has a gap to a published number only if it was tested as that was; else it is said what differs."""

from pathlib import Path

import pytest

from vitrun import papers
from vitrun.papers import names
from vitrun.recipes import tables
from vitrun.runs.describe import describe_run
from vitrun.runs.published import match_published
from vitrun.runs.results import describe_test

RECTANGLES = {"resize": "rectangle_16", "crop": 1.0, "antialias": True, "interpolation": "bilinear"}
RESULT = {"images_used": 5000, "objects": 36_335, "view": {"source": "weights", "res": 512}}


@pytest.mark.parametrize(
    ("changes", "view", "difference"),
    [
        ({}, {}, None),
        ({"images_used": 4999}, {}, "data coco, not COCO val2017"),
        ({"objects": 5000}, {}, "data coco, not COCO val2017"),
        ({"view": {"source": "weights", "res": 480}}, {}, "res 480, not 512"),
        ({}, {"resize": "square"}, "view square 1 bilinear, not rectangles cut to 16 bilinear"),
        ({}, {"resize": "rectangle"}, "view rectangles bilinear, not rectangles cut to 16 bilinear"),
        ({}, {"interpolation": "bicubic"}, "view rectangles cut to 16 bicubic, not rectangles cut to 16 bilinear"),
    ],
)
def test_a_detector_has_a_gap_on_cocos_test_images_shown_as_published(changes, view, difference, tmp_path):
    options = {"data": {"source": "coco", "name": "coco"}, "init": "hf:hustvl/yolos-tiny", "res": None}
    options |= {"command": "eval", "view": RECTANGLES | view}
    facts = describe_run("eval", options, tmp_path) | describe_test(options, RESULT | changes)
    (match,) = match_published(facts, "AP", papers.load_table("detection"))
    assert match.number.value == 28.7 and (difference in match.differences if difference else not match.differences)


@pytest.mark.parametrize(
    ("init", "model", "expected"),
    [
        ("timm:deit_tiny_patch16_224.fb_in1k", None, "YOLOS-Ti"),
        ("timm:deit_small_patch16_224.fb_in1k", "yolos_s", "YOLOS-S"),
        ("timm:resnet50.tv_in1k", None, "DETR R50"),
        ("timm:resnet101.tv_in1k", "detr_r101_dc5", "DETR-DC5 R101"),
        ("hf:facebook/detr-resnet-50", None, "DETR R50"),
        ("timm:resnet18.tv_in1k", None, "detr_resnet18"),
    ],
)
def test_a_fine_tuned_detector_has_the_name_of_the_published_one(init, model, expected):
    options = {"command": "finetune", "init": init, "res": 64, "data": {"source": "boxes", "name": "boxes"}}
    assert describe_run("finetune", options | {"detect": {"model": model}}, Path("none"))["model"] == expected


def test_annotations_of_ones_own_are_not_taken_for_coco():
    assert names.find_test_set({"source": "coco"}, 5000, 36_335) == names.COCO
    assert names.find_test_set({"source": "boxes"}, 5000, 36_335) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "DETR R50"),
        ({"dropout": 0.0}, "DETR R50"),
        ({"decoder": 2}, "detr_r50"),
        ({"body": {"name": "resnet18"}}, "detr_r50"),
        ({"body": {"options": {"output_stride": 16}}}, "detr_r50"),
    ],
)
def test_a_detector_of_another_shape_has_not_the_published_name(changes, expected):
    row = tables.read_row("model", "detr_r50")
    row |= {key: row[key] | value if key == "body" else value for key, value in changes.items()}
    assert names.paper_model_name("detr_r50", row) == expected
