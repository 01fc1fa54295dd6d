"""Sets of images in YOLO's layout have the boxes that the same images have in COCO's JSON."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.boxes import make_tree, write_images
from vitrun.data import open_split
from vitrun.errors import UserError
from vitrun.recipes import tables


def write_yolo(root: Path, parts: dict[str, int], images: str = "images/{}", labels: str = "labels/{}") -> None:
    """Write parts of so many images, with their labels."""
    for part, number in parts.items():
        tree = make_tree(number)
        write_images(root / images.format(part), tree)
        (root / labels.format(part)).mkdir(parents=True, exist_ok=True)
        for image in tree["images"]:
            lines = [line(note) for note in tree["annotations"] if note["image_id"] == image["id"]]
            file = root / labels.format(part) / f"{Path(image['file_name']).stem}.txt"
            file.write_text("\n".join(lines))


def line(note: dict) -> str:
    """Return an annotation as a line of YOLO, of an image of 40 by 30 pixels."""
    left, top, width, height = note["bbox"]
    numbers = ((left + width / 2) / 40, (top + height / 2) / 30, width / 40, height / 30)
    return f"{int(note['category_id'] == 90)} " + " ".join(map(repr, numbers))


def open_part(path, part="train", **options):
    """Return a part of the set at ``path``."""
    return open_split(tables.load_data_row("coco", path=path, **options), part)


@pytest.mark.parametrize("layout", ["ultralytics", "roboflow", "lists", "elsewhere"])
def test_usual_layouts_have_the_boxes_of_cocos_json(layout, tmp_path):
    names = {"names": {0: "cat", 1: "dog"}, "train": "images/train", "val": "images/val"}
    folders = {}
    if layout == "roboflow":
        names = {"names": ["cat", "dog"], "nc": 2, "train": "../train/images", "val": "../valid/images"}
        folders = {"images": "{}/images", "labels": "{}/labels"}
    write_yolo(tmp_path, {"train": 4, "valid" if layout == "roboflow" else "val": 5}, **folders)
    if layout == "lists":
        for part in ("train", "val"):
            files = sorted((tmp_path / "images" / part).iterdir())
            (tmp_path / f"{part}.txt").write_text("\n".join(f"./images/{part}/{file.name}" for file in files))
        names |= {"train": ["train.txt"], "val": "val.txt"}
    if layout == "elsewhere":
        names["path"] = "/home/another/datasets/mine"
    (tmp_path / "data.yaml").write_text(json.dumps(names))
    (tmp_path / "notes.json").write_text("{}")
    trees = {"train": make_tree(4), "test": make_tree(5)}
    for path in (tmp_path, tmp_path / "data.yaml"):
        for part, tree in trees.items():
            split = open_part(path, part)
            boxes = np.array([note["bbox"] for note in tree["annotations"]])
            assert np.allclose(split.boxes.corners, np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
            assert split.boxes.labels.tolist() == [note["category_id"] == 90 for note in tree["annotations"]]
            assert split.classes == ("cat", "dog") and split.boxes.sizes.tolist() == [[30, 40]] * len(split)
            assert split.fingerprint and split.pixels is not None


def test_a_name_that_is_not_utf8_is_escaped(tmp_path):
    write_yolo(tmp_path, {"train": 3, "val": 2})
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    for folder, suffix in (("images", "png"), ("labels", "txt")):
        file = tmp_path / folder / "train" / f"000.{suffix}"
        file.rename(os.fsdecode(os.fsencode(file.parent) + b"/\xe9." + suffix.encode()))
    split = open_part(tmp_path)
    assert "images/train/\\xe9.png" in split.keys and split.fingerprint and not split.unusable


def test_a_list_of_classes_and_outlines_are_read_and_one_part_is_divided(tmp_path):
    write_yolo(tmp_path, {"": 8})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "labels/000.txt").write_text("1 0.1 0.2 0.5 0.2 0.5 0.8\n\n1 0.1 0.2 0.5 0.2 0.5 0.8\n")
    (tmp_path / "labels/001.txt").unlink()
    (tmp_path / "images/002.png").write_bytes(b"no image")
    whole = open_part(tmp_path, "test", train=None)
    assert np.allclose(whole.boxes.corners[0], [4, 6, 20, 24]) and np.diff(whole.boxes.starts)[:2].tolist() == [1, 0]
    with pytest.raises(UserError, match="not a readable image"):
        whole.decode(2)
    parts = [open_part(tmp_path, part) for part in ("train", "test")]
    assert [*map(len, parts)] == [7, 1] and not {*parts[0].keys} & {*parts[1].keys}


def test_sizes_are_those_of_images_turned_by_exif_as_ultralytics_has_them(tmp_path):
    write_yolo(tmp_path, {"": 3})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    image = Image.new("RGB", (30, 40))
    image.getexif()[0x112] = 6
    image.save(tmp_path / "images/000.png", exif=image.getexif())
    split = open_part(tmp_path, "test", train=None, exif=True)
    assert split.boxes.sizes.tolist() == [[30, 40]] * 3 and split.pixels.shape == (3, 3, 30, 40)


WRONG = {
    "pixels": ("from 0 to 1", "0 12 13 5 5", {}),
    "corners": ("or the corners", "0 0.1 0.2", {}),
    "a detection": ("or the corners", "0 0.1 0.2 0.3 0.4 0.9", {}),
    "a class": ("a class from 0 to 1", "2 0.1 0.2 0.3 0.4", {}),
    "half a class": ("a class from 0 to 1", "0.5 0.1 0.2 0.3 0.4", {}),
    "a text": ("line 1 of", "cat 0.1 0.2 0.3 0.4", {}),
    "not a number": ("from 0 to 1", "0 nan 0.2 0.3 0.4", {}),
    "no labels": ("no boxes for its train part", "", {}),
    "no names": ("no names of classes", "", {"names": None}),
    "gaps": ("not 0, 1 and so on", "", {"names": {1: "cat", 2: "dog"}}),
    "a list of numbers": ("list one for each class", "", {"names": [[1], [2]]}),
    "a name twice": ("for two classes", "", {"names": ["cat", "cat"]}),
    "no folder": ("which is not in", "", {"train": "images/lost"}),
    "no text": ("a text is needed", "", {"train": {"a": 1}}),
    "no part": (r"has no train: .* there are val, test", "", {"train": None, "test": "images/val"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_set_is_one_sentence(case, tmp_path):
    pattern, text, changes = WRONG[case]
    write_yolo(tmp_path, {"train": 1, "val": 1})
    (tmp_path / "labels/train/000.txt").write_text(text)
    content = {"names": ["cat", "dog"], "train": "images/train", "val": "images/val"} | changes
    (tmp_path / "data.yaml").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    with pytest.raises(UserError, match=pattern) as caught:
        open_part(tmp_path)
    message = str(caught.value).replace(str(tmp_path), "")
    assert caught.value.status == 3 and len(message) < 400 and "\n" not in message
