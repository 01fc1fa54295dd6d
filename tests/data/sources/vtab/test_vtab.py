"""VTAB-1k from a folder of originals: images in the published order, with their labels."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from scipy.io import loadmat

from helpers.vtab_check import find_row, run_data_check
from helpers.vtab_originals import caltech101
from vitrun import data
from vitrun.config import resolve
from vitrun.data.sources.vtab import read_part
from vitrun.data.sources.vtab.keys import published_keys
from vitrun.errors import ExitCode, UserError
from vitrun.papers.vtab_tasks import TASKS
from vitrun.runs import run


def test_a_task_is_opened_in_order_with_its_labels_and_its_missing_classes(root):
    recipe = resolve.resolve_recipe("pretrain", ["data=vtab/flowers102", f"data.root={root}"]).data
    train, test = (data.open_split(recipe, part) for part in ("train", "test"))
    assert (len(train), len(test), len(train.classes)) == (1000, 6149, 102) and train.location
    assert not set(train.keys) & set(test.keys) and len(set(train.keys)) == 1000
    pool = data.find_draw_pool(recipe, train)
    assert pool.order.tolist() == list(range(1000)) and pool.note.endswith("order of TensorFlow Datasets")
    assert [key.split("/")[0] for key in train.keys] == ["train"] * 800 + ["validation"] * 200
    names = [key.split("/")[1] for key in train.keys]
    assert sorted(names[:800], key=lambda key: hashlib.md5(b"train" + key.encode()).hexdigest()) == names[:800]
    numbers = np.array([int(name[6:11]) for name in names])
    assert (train.labels + 1 == loadmat(root / "oxford_flowers102" / "imagelabels.mat")["labels"][0, numbers - 1]).all()
    colours = train.pixels.float().mean((2, 3))[:, 0].round().numpy()
    assert np.abs(colours - train.labels).max() <= 3, "each image comes with its own label"


def test_a_learning_rate_is_chosen_on_images_outside_the_training_set(root, run_command):
    overrides = [
        "data=vtab/flowers102",
        f"data.path={root / 'oxford_flowers102'}",
        "data.train=train800",
        "data.test=val200",
    ]
    recipe, result = run_command(
        "finetune", "init=random:vit_nano8", "res=32", "steps=2", "epochs=null", "warmup=0", *overrides
    )
    assert result["test_images"] == 200 and "-vtab_flowers102-" in run.run_name("finetune", recipe)
    log = (recipe.runs / run.run_name("finetune", recipe) / "log.txt").read_text()
    assert "800 training and 200 test images, 102 classes" in log and f"from {root / 'oxford_flowers102'}" in log


def test_an_incomplete_original_is_refused(root, tmp_path):
    some = tmp_path / "2750"
    for name in {key.split("_")[0] for key in published_keys("eurosat", "train")}:
        (some / name).mkdir(parents=True)
        os.link(root / "0.jpg", some / name / f"{name}_1.jpg")
    with pytest.raises(
        UserError, match="10 images of 10 classes, but the published train split of eurosat has 27000"
    ) as error:
        read_part(TASKS["eurosat"], tmp_path, "train800")
    assert error.value.status == ExitCode.DATA


def test_a_partition_without_a_list_is_drawn_and_reported_as_drawn(tmp_path, capsys):
    caltech101(tmp_path / "caltech101")
    for part in ("train", "test"):
        (tmp_path / "caltech101" / f"caltech101_{part}.txt").unlink()
    images = tmp_path / "caltech101" / "101_ObjectCategories"
    for place in images.glob("thing_*"):
        for n in range(1, 32):
            os.link(images / "Faces" / "image_0001.jpg", place / f"image_{n:04d}.jpg")
    split = read_part(TASKS["caltech101"], tmp_path / "caltech101", "train800val200")
    assert len(split) == 1000 and "not known to be the published one" in split.location and not split.in_tfds_order
    output, splits = run_data_check(tmp_path, tmp_path / "splits.json", capsys)
    assert (
        find_row(output, "caltech101")[1] == "cannot be known from this copy" and splits["caltech101"]["test"] is None
    )


def test_keys_are_computed_from_lists_without_any_image(root, tmp_path, capsys):
    place = tmp_path / "originals" / "oxford_flowers102"
    place.mkdir(parents=True)
    os.symlink(root / "oxford_flowers102" / "setid.mat", place / "setid.mat")
    with pytest.raises(UserError, match="see above.: oxford_flowers102"):
        run_data_check(place.parent, tmp_path / "splits.json", capsys)
    _, result = run_data_check(root, tmp_path / "result.json", capsys)
    assert json.loads((tmp_path / "splits.json").read_text())["flowers102"] == result["flowers102"]


def test_replacing_an_image_changes_the_fingerprint(root, tmp_path):
    photos = tmp_path / "oxford_flowers102" / "jpg"
    shutil.copytree(root / "oxford_flowers102", photos.parent, copy_function=os.link)
    task = TASKS["flowers102"]
    before = {part: read_part(task, photos.parent, part) for part in ("train800val200", "test")}
    image = photos / before["test"].keys[5].split("/")[1]
    image.unlink()
    image.write_bytes((root / "0.jpg").read_bytes() + b"another")
    after = {part: read_part(task, photos.parent, part).fingerprint for part in before}
    assert after["train800val200"] == before["train800val200"].fingerprint
    assert after["test"] != before["test"].fingerprint
