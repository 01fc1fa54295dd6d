"""Parts of sets of images with boxes: COCO's folders, and those that other programs write."""

import json
import shutil

import numpy as np
import pytest

from helpers.boxes import make_tree, write_coco, write_images
from vitrun.data import open_split
from vitrun.errors import UserError
from vitrun.recipes import tables


def open_part(root, part="train", **options):
    """Return a part of the set in ``root``."""
    return open_split(tables.load_data_row("coco", path=root, **options), part)


def test_the_folders_of_coco_are_read_with_ids_as_published_and_classes_without_gaps(tmp_path):
    train, test = (open_part(write_coco(tmp_path / part), part) for part in ("train", "test"))
    assert (len(train), len(test)) == (4, 5)
    assert train.classes == ("cat", "dog")
    assert train.boxes.category_ids.tolist() == [3, 90] and train.boxes.image_ids.tolist() == [10, 17, 24, 31]
    assert train.boxes.labels.tolist() == [1, 0] * 4 and train.labels.tolist() == [[0, 1]] * 4
    left, top, right, bottom = train.boxes.corners[3].astype(int)
    image = train.pixels[1]
    assert (image[:, top:bottom, left:right] == 220).all()


@pytest.mark.parametrize("files", [("train/_annotations.coco.json", "valid/_annotations.coco.json"),
                                   ("train.json", "val.json"), ("my/my_train.json", "my/my-test.json"),
                                   ("all.json", "all.json")])  # fmt: skip
def test_layouts_of_other_programs_are_found(files, tmp_path):
    for number, name in enumerate(dict.fromkeys(files)):
        tree = make_tree(4 + number)
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(tree))
        write_images(file.parent if "coco" in name else tmp_path / "images", tree)
    numbers = [len(open_part(tmp_path, part)) for part in ("train", "test")]
    assert numbers == ([3, 1] if files[0] == files[1] else [4, 5])


def test_a_single_file_is_divided_into_parts_that_share_no_image(tmp_path):
    tree = make_tree(20)
    write_images(tmp_path / "photographs", tree)
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    train, test = (open_part(tmp_path / "boxes.json", part, test_share=0.25) for part in ("train", "test"))
    assert (len(train), len(test)) == (15, 5) and not {*train.keys} & {*test.keys}
    assert sorted([*train.boxes.image_ids, *test.boxes.image_ids]) == [image["id"] for image in tree["images"]]


def test_crowds_empty_images_and_boxes_outside_are_read(tmp_path):
    tree = make_tree(3)
    tree["annotations"] = [note for note in tree["annotations"] if note["image_id"] != 17]
    tree["annotations"][0] |= {"iscrowd": 1, "segmentation": {"counts": "abc", "size": [30, 40]}}
    tree["annotations"][1] |= {"bbox": [-5, -5, 100, 100]}
    del tree["annotations"][1]["area"]
    write_images(tmp_path, tree)
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    split = open_part(tmp_path / "boxes.json", "test", train=None)
    assert np.diff(split.boxes.starts).tolist() == [2, 0, 2]
    assert split.boxes.crowd.tolist() == [True, False, False, False]
    assert split.boxes.areas[1] == 100 * 100 and split.boxes.corners[1].tolist() == [-5, -5, 95, 95]
    assert "1 of them crowds; 1 images have none" in split.notes[-1]


def test_images_are_found_by_path_by_their_only_name_and_without_a_suffix(tmp_path):
    tree = make_tree(4)
    write_images(tmp_path / "images" / "deep", tree)
    shutil.move(tmp_path / "images/deep/000.png", tmp_path / "images/000.png")
    tree["images"][1]["file_name"] = "elsewhere\\001.png"
    tree["images"][2]["file_name"] = "002"
    tree["images"][3]["file_name"] = "lost.png"
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    split = open_part(tmp_path, "test", train=None, images=tmp_path / "images")
    assert [*split.unusable] == [3] and "lost.png" in split.notes[-1]
    assert all(split.decode(row).shape == (3, 30, 40) for row in range(3))


def test_other_forms_of_the_same_numbers_are_read_the_same(tmp_path):
    tree = make_tree(3)
    write_images(tmp_path, tree)
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    whole = open_part(tmp_path, "test", train=None).boxes
    for image in tree["images"]:
        image |= {"id": float(image["id"]), "width": 40.0}
    for entry in tree["annotations"]:
        entry |= {"category_id": float(entry["category_id"]), "iscrowd": False, "id": None}
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    assert all(map(np.array_equal, open_part(tmp_path, "test", train=None).boxes.facts(), whole.facts()))
    for entry, key in [(image, "id") for image in tree["images"]] + [(box, "image_id") for box in tree["annotations"]]:
        entry[key] = f"n{int(entry[key])}"
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    named = open_part(tmp_path, "test", train=None)
    assert named.boxes.image_ids.tolist() == ["n10", "n17", "n24"] and named.fingerprint


def test_what_roboflow_lists_as_the_group_of_the_classes_is_no_class(tmp_path):
    tree = make_tree(3)
    tree["categories"] = [{"id": 0, "name": "dog", "supercategory": "none"}] + [
        category | {"supercategory": "dog"} for category in tree["categories"]
    ]
    write_images(tmp_path, tree)
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    assert open_part(tmp_path, "test", train=None).boxes.category_ids.tolist() == [3, 90]
    tree["annotations"][0]["category_id"] = 0
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match="two categories named dog"):
        open_part(tmp_path, "test", train=None)


def note(tree, **values):
    """Change the second annotation."""
    tree["annotations"][1] |= values


WRONG = {
    "no JSON": ("boxes.json is not JSON", lambda tree: '{"images": [{"id": 1,'),
    "a pointer": ("pointer of Git LFS", lambda tree: "version https://git-lfs.github.com/spec/v1\noid sha256:12"),
    "a list": ("it is a list", lambda tree: [tree]),
    "captions": ("no list of categories", lambda tree: tree.pop("categories")),
    "no images": ("lists no images", lambda tree: tree.update(images=[])),
    "no annotations": ("has no annotations", lambda tree: tree.update(annotations=[])),
    "no classes": ("has no categories", lambda tree: tree.update(categories=[])),
    "a missing category": ("no category 7, which annotation 101", lambda tree: note(tree, category_id=7)),
    "a missing image": ("no image 5, which annotation 101", lambda tree: note(tree, image_id=5)),
    "a negative width": (r"bbox of annotation 101 \[1, 2, -3, 4\]", lambda tree: note(tree, bbox=[1, 2, -3, 4])),
    "not a number": ("four finite numbers", lambda tree: note(tree, bbox=[1, 2, float("nan"), 4])),
    "a text": ("four finite numbers", lambda tree: note(tree, bbox=["1", "2", "x", None])),
    "corners only": ("four finite numbers", lambda tree: note(tree, bbox=[1, 2, 3])),
    "infinite": ("four finite numbers", lambda tree: note(tree, bbox=[1e308, 2, 1e308, 4])),
    "true": ("four finite numbers", lambda tree: note(tree, bbox=[True, 2, 3, 4])),
    "area": ("'12' as area of annotation 101", lambda tree: note(tree, area="12")),
    "no area": (r"\[\] as area", lambda tree: note(tree, area=[])),
    "crowd": ("'0' as iscrowd", lambda tree: note(tree, iscrowd="0")),
    "half a crowd": ("0.5 as iscrowd", lambda tree: note(tree, iscrowd=0.5)),
    "a list as id": (r"\[1\] as id of annotation 2", lambda tree: note(tree, id=[1])),
    "a list as image": (r"no image_id for annotation 101, but \[1\]", lambda tree: note(tree, image_id=[1])),
    "a text as image": ("'10'.*one is a number", lambda tree: note(tree, image_id="10")),
    "no object": ("5 as annotation 2", lambda tree: tree["annotations"].__setitem__(1, 5)),
    "panoptic": ("panoptic", lambda tree: tree["annotations"][1].update(segments_info=[], image_id=None)),
    "only crowds": ("are crowds", lambda tree: [each.update(iscrowd=1) for each in tree["annotations"]]),
    "a list of detections": ("list of detections", lambda tree: '[{"image_id": 1, "score": 0.5}]'),
    "nothing": ("is empty", lambda tree: " "),
    "a second list": ("two values for images", lambda tree: json.dumps(tree)[:-1] + ', "images": []}'),
    "a text as category": ("number the categories", lambda tree: tree["categories"][1].update(id="3")),
    "a huge id": ("2 to the power of 63", lambda tree: tree["images"][1].update(id=2**70)),
    "an image listed twice": ("file_name 000.png", lambda tree: tree["images"][1].update(file_name="000.png")),
    "no name of a file": ("no file is called", lambda tree: tree["images"][1].update(file_name="\ud800")),
    "no box": ("bbox of annotation 101 None", lambda tree: tree["annotations"][1].pop("bbox")),
    "an image twice": ("two entries for image 10", lambda tree: tree["images"][1].update(id=10)),
    "an annotation twice": ("two annotations with the id 100", lambda tree: note(tree, id=100)),
    "a name twice": ("two categories named dog", lambda tree: tree["categories"][1].update(name="dog")),
    "no size": ("width None and height 30 for image 10", lambda tree: tree["images"][0].pop("width")),
    "no file": ("no file_name for image 10", lambda tree: tree["images"][0].update(file_name=None)),
    "no images there": (
        r"data\.images=FOLDER",
        lambda tree: [image.update(file_name=f"x{image['id']}") for image in tree["images"]],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_sentence(case, tmp_path):
    pattern, damage = WRONG[case]
    tree = make_tree()
    write_images(tmp_path, tree)
    damaged = damage(tree)
    text = damaged if isinstance(damaged, str) else json.dumps(damaged if case == "a list" else tree)
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(UserError, match=pattern) as caught:
        open_part(tmp_path / "boxes.json", "test", train=None)
    message = str(caught.value)
    assert caught.value.status == 3 and len(message) < 400 + len(str(tmp_path)) and "\n" not in message


def test_parts_that_are_not_named_are_asked_for(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(make_tree()))
    with pytest.raises(UserError, match=r"a\.json, b\.json.*data\.train=FILE"):
        open_part(tmp_path)
    with pytest.raises(UserError, match="is not a file in") as caught:
        open_part(tmp_path, train="c.json")
    assert caught.value.option == "data.train"
