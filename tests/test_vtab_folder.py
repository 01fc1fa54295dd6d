"""What lies in a folder of VTAB's originals is read in the published order, and what is missing or differs is said."""

import hashlib
import json
import os
import shutil
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import datasets
import numpy as np
import pytest
from originals import caltech101, photo
from PIL import Image
from scipy.io import loadmat, savemat

from vitrun import data, run, start
from vitrun.data.originals import LISTS
from vitrun.data.table import main as check_data
from vitrun.data.vtab import read_part
from vitrun.data.vtab.copies import read as read_copy
from vitrun.data.vtab.keys import CODES, codes, parts, published_keys
from vitrun.data.vtab.order import tfds_order
from vitrun.data.vtab.tasks import TASKS
from vitrun.mistakes import Exit, Mistake
from vitrun.screen import Screen


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with all of Flowers102 and of EuroSAT by name and label, a colour a class; every other is missing."""
    root = tmp_path_factory.mktemp("originals")
    colours = []
    for label in range(102):
        colours.append(root / f"{label}.jpg")
        Image.new("RGB", (8, 8), (label, 2 * label, 255 - label)).save(colours[-1], quality=95)
    flowers = root / "oxford_flowers102"
    (flowers / "jpg").mkdir(parents=True)
    order = np.random.default_rng(0).permutation(np.arange(1, 8190, dtype=np.uint16))
    found = labels_of(order)
    for n, label in enumerate(found, 1):
        os.link(colours[label], flowers / "jpg" / f"image_{n:05d}.jpg")
    savemat(flowers / "imagelabels.mat", {"labels": (found + 1).astype(np.uint8)[None]})
    savemat(
        flowers / "setid.mat",
        {"trnid": order[None, :1020], "valid": order[None, 1020:2040], "tstid": order[None, 2040:]},
    )
    for key in published_keys("eurosat", "train"):
        name, _, file = key.partition("_")
        (root / "eurosat" / "2750" / name).mkdir(parents=True, exist_ok=True)
        os.link(colours[0], root / "eurosat" / "2750" / name / file)
    return root


def labels_of(order: np.ndarray) -> np.ndarray:
    """Labels of the flowers 1, 2 ..., of which val200 has 90 classes, as the published one."""
    found = np.arange(8189) % 102
    held = order[1020:2040]
    val200 = held[tfds_order([f"image_{n:05d}.jpg" for n in held], "validation")[:200]]
    found[val200 - 1] = np.arange(200) % 90
    return found


def test_a_task_is_opened_in_order_with_its_labels_and_the_classes_that_are_absent(root):
    recipe = start.load("pretrain", ["data=vtab/flowers102", f"data.root={root}"]).data
    train, test = (data.open_split(recipe, part) for part in ("train", "test"))
    assert (len(train), len(test), len(train.classes)) == (1000, 6149, 102) and train.where
    assert not set(train.keys) & set(test.keys) and len(set(train.keys)) == 1000
    assert [key.split("/")[0] for key in train.keys] == ["train"] * 800 + ["validation"] * 200
    names = [key.split("/")[1] for key in train.keys]
    assert sorted(names[:800], key=lambda key: hashlib.md5(b"train" + key.encode()).hexdigest()) == names[:800]
    numbers = np.array([int(name[6:11]) for name in names])
    assert (train.labels + 1 == loadmat(root / "oxford_flowers102" / "imagelabels.mat")["labels"][0, numbers - 1]).all()
    colours = train.pixels.float().mean((2, 3))[:, 0].round().numpy()
    assert np.abs(colours - train.labels).max() <= 3, "each image comes with its own label"


def test_a_learning_rate_is_chosen_on_images_that_are_not_trained_on(root, carry_out):
    words = [
        "data=vtab/flowers102",
        f"data.path={root / 'oxford_flowers102'}",
        "data.train=train800",
        "data.test=val200",
    ]
    recipe, result = carry_out(
        "finetune", "init=random:vit_nano8", "res=32", "steps=2", "epochs=null", "warmup=0", *words
    )
    assert result["test_images"] == 200 and "-vtab_flowers102-" in run.name("finetune", recipe)
    log = (recipe.runs / run.name("finetune", recipe) / "log.txt").read_text()
    assert "800 training and 200 test images, 102 classes" in log and f"from {root / 'oxford_flowers102'}" in log


def test_an_incomplete_original_is_refused_since_its_order_is_another(root, tmp_path):
    some = tmp_path / "2750"
    for name in {key.split("_")[0] for key in published_keys("eurosat", "train")}:
        (some / name).mkdir(parents=True)
        os.link(root / "0.jpg", some / name / f"{name}_1.jpg")
    with pytest.raises(
        Mistake, match="10 images of 10 classes, but the published train split of eurosat has 27000"
    ) as error:
        read_part(TASKS["eurosat"], tmp_path, "train800")
    assert error.value.status == Exit.DATA


def test_a_partition_that_no_file_tells_is_drawn_and_said_to_be(tmp_path, capsys):
    caltech101(tmp_path / "caltech101")
    for part in ("train", "test"):
        (tmp_path / "caltech101" / f"caltech101_{part}.txt").unlink()
    images = tmp_path / "caltech101" / "101_ObjectCategories"
    for place in images.glob("thing_*"):
        for n in range(1, 32):
            os.link(images / "Faces" / "image_0001.jpg", place / f"image_{n:04d}.jpg")
    drawn = read_part(TASKS["caltech101"], tmp_path / "caltech101", "train800val200")
    assert len(drawn) == 1000 and "not known to be the published one" in drawn.where
    said, splits = check(tmp_path, tmp_path / "splits.json", capsys)
    assert row(said, "caltech101")[1] == "cannot be known from this copy" and splits["caltech101"]["test"] is None


def check(root: Path, save: Path, capsys) -> tuple[str, dict]:
    """What ``vitrun data vtab data.root=`` says and writes."""
    recipe = start.load("data", ["vtab", f"data.root={root}", f"save={save}"])
    try:
        check_data(recipe, Screen())
    finally:
        said = capsys.readouterr().out
    return said, json.loads(save.read_text())


def row(said: str, task: str) -> list[str]:
    return next([cell.strip() for cell in line.split("|")[4:6]] for line in said.splitlines() if f"| {task} " in line)


def test_the_check_says_what_is_there_what_is_exact_and_what_is_missing(root, tmp_path, capsys):
    said, splits = check(root, tmp_path / "splits.json", capsys)
    assert row(said, "eurosat") == ["27000", "exact"]
    assert row(said, "flowers102") == ["1020, 1020, 6149", "order computed, no published check value"]
    assert row(said, "clevr_dist") == ["missing", "known without its images"] and row(said, "dtd") == ["missing", "-"]
    assert "2 of 19 tasks found" in said and "https://cs.stanford.edu/people/jcjohns/clevr" in said
    assert f"{root / 'dtd'}" in said and "no such folder" in said
    assert len(splits) == 19 and len(splits["flowers102"]["test"]) == 6149 and splits["dtd"]["train800"] is None
    assert splits["cifar100"]["train800"][:2] == ["16399", "1680"]


def test_the_keys_of_eleven_tasks_are_written_without_any_image(tmp_path, capsys):
    said, splits = check(tmp_path, tmp_path / "splits.json", capsys)
    assert "0 of 19 tasks found" in said and "keys of 11" in said
    assert sum(task["test"] is not None for task in splits.values()) == 11


def test_an_original_with_other_names_differs_and_the_check_fails(root, tmp_path, capsys):
    place = tmp_path / "originals" / "eurosat"
    place.parent.mkdir()
    os.symlink(root / "eurosat", place)
    file = place / "2750" / "Forest" / "Forest_1.jpg"
    file.rename(file.with_name("Forest_3001.jpg"))
    try:
        with pytest.raises(Mistake, match="not what is published, as said above: eurosat") as error:
            check(place.parent, tmp_path / "splits.json", capsys)
    finally:
        file.with_name("Forest_3001.jpg").rename(file)
    assert error.value.status == Exit.DATA


def test_an_original_that_is_not_whole_is_told_from_one_that_is_missing(tmp_path, capsys):
    (tmp_path / "kitti" / "mapping").mkdir(parents=True)
    with pytest.raises(Mistake, match="not what is published, as said above: kitti") as error:
        check_data(start.load("data", ["vtab", f"data.root={tmp_path}", f"save={tmp_path / 'splits.json'}"]), Screen())
    said = capsys.readouterr().out
    assert row(said, "kitti_dist") == ["not whole", "-"] and row(said, "dmlab") == ["missing", "-"]
    assert error.value.status == Exit.DATA


def test_the_check_of_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(Mistake, match="there is no folder") as error:
        check_data(start.load("data", ["vtab", f"data.root={tmp_path / 'nowhere'}"]), Screen())
    assert error.value.status == Exit.DATA


def test_images_of_more_or_fewer_classes_than_published_differ(root, tmp_path, capsys):
    place = tmp_path / "originals" / "oxford_flowers102"
    place.mkdir(parents=True)
    for name in ("jpg", "setid.mat"):
        os.symlink(root / "oxford_flowers102" / name, place / name)
    labels = loadmat(root / "oxford_flowers102" / "imagelabels.mat")["labels"]
    savemat(place / "imagelabels.mat", {"labels": np.maximum(labels, 20)})
    with pytest.raises(Mistake, match="as said above: oxford_flowers102"):
        check_data(start.load("data", ["vtab", f"data.root={place.parent}", f"save={tmp_path / 's.json'}"]), Screen())
    said = capsys.readouterr().out
    assert row(said, "flowers102")[1] == "differs"
    assert "val200 has images of 71 classes, where the published one has them of 90" in said


def test_lists_tell_the_keys_without_the_images(root, tmp_path, capsys):
    place = tmp_path / "originals" / "oxford_flowers102"
    place.mkdir(parents=True)
    os.symlink(root / "oxford_flowers102" / "setid.mat", place / "setid.mat")
    with pytest.raises(Mistake, match="as said above: oxford_flowers102"):
        check(place.parent, tmp_path / "splits.json", capsys)
    _, whole = check(root, tmp_path / "whole.json", capsys)
    assert json.loads((tmp_path / "splits.json").read_text())["flowers102"] == whole["flowers102"]


def test_an_image_that_was_replaced_is_another(root, tmp_path):
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


def test_the_second_known_partition_of_caltech_is_read_and_said_to_be_another_draw(tmp_path, monkeypatch):
    caltech101(tmp_path)
    monkeypatch.setattr("vitrun.data.vtab.copies.SECOND", {("caltech101", "test"): 1})
    test = read_part(TASKS["caltech101"], tmp_path, "test")
    assert "1 images: differs from the published split of 6084, another draw" in test.where
    with pytest.raises(Mistake, match="4 images of 102 classes, but the published train split of caltech101 has 3060"):
        read_part(TASKS["caltech101"], tmp_path, "train800")


def copy(folder: Path, column: str, split: str, paths: list[str | None], labels: list[int], classes: int) -> None:
    """A split of a copy in the Hub's layout, all of whose images are the same."""
    names = datasets.ClassLabel(num_classes=classes)
    rows = {"image": [{"bytes": photo(0), "path": path} for path in paths], column: labels}
    table = datasets.Dataset.from_dict(rows, datasets.Features({"image": datasets.Image(), column: names}))
    if column == "fine_label":
        table = table.rename_column("image", "img")
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.mark.parametrize("moved, order", [(0, "cannot be known from this copy"), (1, "differs")])
def test_of_a_copy_without_names_the_order_cannot_be_known_unless_it_is_surely_another(tmp_path, moved, order, capsys):
    labels = np.arange(50000) % 100
    labels[tfds_order([str(n) for n in range(50000)], "train")[45000:45200]] = np.arange(200) % 90
    labels = np.roll(labels, moved).tolist()
    copy(tmp_path / "cifar100", "fine_label", "train", [None] * 50000, labels, 100)
    copy(tmp_path / "cifar100", "fine_label", "test", [None] * 10000, labels[:10000], 100)
    recipe = start.load("data", ["vtab", f"data.root={tmp_path}", f"save={tmp_path / 'splits.json'}"])
    with nullcontext() if moved == 0 else pytest.raises(Mistake, match="as said above: cifar100"):
        check_data(recipe, Screen())
    assert row(capsys.readouterr().out, "cifar100") == ["50000, 10000", order]
    train = read_part(TASKS["cifar100"], tmp_path / "cifar100", "train800")
    assert list(train.keys)[:2] == ["train/16399", "train/1680"] and "lost their names, only their rows" in train.where


def test_a_copy_whose_keys_are_names_is_of_no_use_without_them(tmp_path, capsys):
    for split, number in (("train", 1020), ("validation", 1020), ("test", 6149)):
        copy(tmp_path / "oxford_flowers102", "label", split, [None] * number, [n % 102 for n in range(number)], 102)
    said, splits = check(tmp_path, tmp_path / "splits.json", capsys)
    assert row(said, "flowers102")[1] == "cannot be known from this copy" and splits["flowers102"]["test"] is None
    with pytest.raises(Mistake, match="lost their names.* from which VTAB's subset follows: fetch the original"):
        read_part(TASKS["flowers102"], tmp_path / "oxford_flowers102", "train800")


def test_a_copy_of_sun397_has_its_keys_by_the_folders_of_its_images(tmp_path):
    keys = ["/a/abbey/sun_1.jpg", "/c/car_interior/backseat/sun_2.jpg", "/z/zoo/sun_1.jpg"]
    copy(tmp_path, "label", "test", [f"SUN397{key}" for key in keys], [0, 1, 2], 397)
    assert read_copy("sun397", tmp_path, "test").keys == keys


@pytest.mark.skipif(find_spec("tensorflow_datasets") is None, reason="needs the lists of tensorflow_datasets")
def test_the_lists_of_sun397_cover_the_published_classes(tmp_path):
    keys = {split: LISTS["sun397"](tmp_path, split) for split in ("train", "validation", "test")}
    found = parts("sun397", keys)
    assert codes(found) == CODES["sun397"]
    classes = {part: len({key.rpartition("/")[0] for key in found[part]}) for part in found}
    both = {key.rpartition("/")[0] for part in ("train800", "val200") for key in found[part]}
    assert (classes["train800"], len(both)) == (309, 325)


def test_a_copy_in_parquet_is_ordered_by_the_names_of_its_images_and_says_where_it_differs(root, tmp_path, capsys):
    image, classes = (root / "0.jpg").read_bytes(), [f"class {n:03d}" for n in range(102)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)})
    for split, number in (("train", 30), ("test", 2)):
        names = [f"101_ObjectCategories/{name}/image_{n:04d}.jpg" for name in classes for n in range(number)]
        rows = {"image": [{"bytes": image, "path": name} for name in names]}
        rows["label"] = [label for label in range(102) for _ in range(number)]
        (tmp_path / "caltech101").mkdir(exist_ok=True)
        table = datasets.Dataset.from_dict(rows, features)
        table.to_parquet(tmp_path / "caltech101" / f"{split}-00000-of-00001.parquet")
    train, test = (read_part(TASKS["caltech101"], tmp_path / "caltech101", part) for part in ("train800", "test"))
    every = [f"{name}/image_{n:04d}.jpg" for name in classes for n in range(30)]
    assert list(train.keys) == [f"train/{every[row]}" for row in tfds_order(every, "train")[:800]]
    assert train.labels.tolist() == [classes.index(key.split("/")[1]) for key in train.keys]
    assert len(test) == 204 and "differs from the published split of 6084" in test.where
    with pytest.raises(Mistake, match="not what is published, as said above: caltech101"):
        check_data(start.load("data", ["vtab", f"data.root={tmp_path}", f"save={tmp_path / 'splits.json'}"]), Screen())
    assert row(capsys.readouterr().out, "caltech101") == ["3060, 204 (published 6084)", "differs"]
    with pytest.raises(Mistake, match="a copy in parquet, from which the keys of clevr do not follow"):
        read_part(TASKS["clevr_count"], tmp_path / "caltech101", "train800")
