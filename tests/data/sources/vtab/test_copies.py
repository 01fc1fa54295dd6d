"""Copies of the originals in other formats: their keys, and what they do not contain."""

from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import datasets
import numpy as np
import pytest

from helpers.vtab_check import find_row, run_data_check
from helpers.vtab_files import make_photo
from helpers.vtab_originals import caltech101
from vitrun.commands.list_data import execute as check_data
from vitrun.config import resolve
from vitrun.data.sources.vtab import read_part
from vitrun.data.sources.vtab.copies import read_original_or_copy as read_copy
from vitrun.data.sources.vtab.keys import KEY_DIGESTS, digest_parts, split_into_parts
from vitrun.data.sources.vtab.originals import KEY_READERS
from vitrun.data.tfds_order import tfds_order
from vitrun.errors import UserError
from vitrun.papers.vtab_tasks import TASKS
from vitrun.runtime.console import Screen


def test_the_second_known_partition_of_caltech_is_read_and_reported_as_another_draw(tmp_path, monkeypatch):
    caltech101(tmp_path)
    monkeypatch.setattr("vitrun.data.sources.vtab.copies.CLIP_BENCHMARK_SIZES", {("caltech101", "test"): 1})
    test = read_part(TASKS["caltech101"], tmp_path, "test")
    assert "1 images: differs from the published split of 6084" in test.location
    with pytest.raises(
        UserError, match="4 images of 102 classes, but the published train split of caltech101 has 3060"
    ):
        read_part(TASKS["caltech101"], tmp_path, "train800")


def write_copy(folder: Path, column: str, split: str, paths: list[str | None], labels: list[int], classes: int) -> None:
    """Write a split of a copy in the Hub's layout; all images are the same."""
    names = datasets.ClassLabel(num_classes=classes)
    rows = {"image": [{"bytes": make_photo(0), "path": path} for path in paths], column: labels}
    table = datasets.Dataset.from_dict(rows, datasets.Features({"image": datasets.Image(), column: names}))
    if column == "fine_label":
        table = table.rename_column("image", "img")
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.mark.parametrize("moved, order", [(0, "cannot be known from this copy"), (1, "differs")])
def test_the_order_of_a_copy_without_names_is_unknown_or_reported_as_different(tmp_path, moved, order, capsys):
    labels = np.arange(50000) % 100
    labels[tfds_order([str(n) for n in range(50000)], "train")[45000:45200]] = np.arange(200) % 90
    labels = np.roll(labels, moved).tolist()
    write_copy(tmp_path / "cifar100", "fine_label", "train", [None] * 50000, labels, 100)
    write_copy(tmp_path / "cifar100", "fine_label", "test", [None] * 10000, labels[:10000], 100)
    recipe = resolve.resolve_recipe("data", ["vtab", f"data.root={tmp_path}", f"save={tmp_path / 'splits.json'}"])
    with nullcontext() if moved == 0 else pytest.raises(UserError, match="see above.: cifar100"):
        check_data(recipe, Screen())
    assert find_row(capsys.readouterr().out, "cifar100") == ["50000, 10000", order]
    train = read_part(TASKS["cifar100"], tmp_path / "cifar100", "train800")
    assert (
        list(train.keys)[:2] == ["train/16399", "train/1680"]
        and "lost their names, so that only the order of its rows" in train.location
        and not train.in_tfds_order
    )


def test_a_copy_without_the_names_that_are_its_keys_is_refused(tmp_path, capsys):
    for split, number in (("train", 1020), ("validation", 1020), ("test", 6149)):
        write_copy(
            tmp_path / "oxford_flowers102", "label", split, [None] * number, [n % 102 for n in range(number)], 102
        )
    output, splits = run_data_check(tmp_path, tmp_path / "splits.json", capsys)
    assert (
        find_row(output, "flowers102")[1] == "cannot be known from this copy" and splits["flowers102"]["test"] is None
    )
    with pytest.raises(UserError, match="lost their names.* fetch the original"):
        read_part(TASKS["flowers102"], tmp_path / "oxford_flowers102", "train800")


def test_the_keys_of_a_copy_of_sun397_include_the_folders_of_its_images(tmp_path):
    keys = ["/a/abbey/sun_1.jpg", "/c/car_interior/backseat/sun_2.jpg", "/z/zoo/sun_1.jpg"]
    write_copy(tmp_path, "label", "test", [f"SUN397{key}" for key in keys], [0, 1, 2], 397)
    assert read_copy("sun397", tmp_path, "test").keys == keys


@pytest.mark.skipif(find_spec("tensorflow_datasets") is None, reason="needs the lists of tensorflow_datasets")
def test_the_lists_of_sun397_cover_the_published_classes(tmp_path):
    keys = {split: KEY_READERS["sun397"](tmp_path, split) for split in ("train", "validation", "test")}
    keys_by_part = split_into_parts("sun397", keys)
    assert digest_parts(keys_by_part) == KEY_DIGESTS["sun397"]
    classes = {part: len({key.rpartition("/")[0] for key in keys_by_part[part]}) for part in keys_by_part}
    both = {key.rpartition("/")[0] for part in ("train800", "val200") for key in keys_by_part[part]}
    assert (classes["train800"], len(both)) == (309, 325)


def test_a_copy_in_parquet_is_ordered_by_image_name_and_differences_are_reported(root, tmp_path, capsys):
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
    assert list(train.keys) == [f"train/{every[index]}" for index in tfds_order(every, "train")[:800]]
    assert train.labels.tolist() == [classes.index(key.split("/")[1]) for key in train.keys]
    assert len(test) == 204 and "differs from the published split of 6084" in test.location
    with pytest.raises(UserError, match="see above.: caltech101"):
        check_data(
            resolve.resolve_recipe("data", ["vtab", f"data.root={tmp_path}", f"save={tmp_path / 'splits.json'}"]),
            Screen(),
        )
    assert find_row(capsys.readouterr().out, "caltech101") == ["3060, 204 (published 6084)", "differs"]
    with pytest.raises(UserError, match="a copy in parquet, which lacks the keys of clevr"):
        read_part(TASKS["clevr_count"], tmp_path / "caltech101", "train800")
