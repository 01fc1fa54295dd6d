"""A wrong folder of images is an error that says what is wrong with it."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from helpers.images import IMAGE_TYPE, write_class_folders, write_flat_folder, write_parquet
from vitrun import data
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables


def write_archive(root: Path) -> None:
    (root / "images.tar.gz").write_bytes(b"packed")


def write_class_without_images(root: Path) -> None:
    write_class_folders(root, ["cat", "dog"])
    (root / "bird").mkdir()


def write_train_folder(root: Path) -> None:
    write_class_folders(root / "train", ["cat", "dog"])


def write_other_test_classes(root: Path) -> None:
    write_train_folder(root)
    write_class_folders(root / "test", ["cat", "bird"])


def write_other_files(root: Path) -> None:
    (root / "cat").mkdir()
    (root / "cat" / "1.psd").write_bytes(b"?")


# kind: function that writes the folder, the part to open, and parts of the message
WRONG = {
    "empty": (lambda root: None, "train", ["has no class folders with images: it has nothing", "CLASS/*.jpg"]),
    "images without class folders": (write_flat_folder, "train", ["its images are not in class folders", "Sort them"]),
    "an archive": (write_archive, "train", ["it has images.tar.gz. Unpack that first"]),
    "no format we read": (
        write_other_files,
        "train",
        ["it has cat", "left out: files that are not images 1 (cat/1.psd)"],
    ),
    "one level too high": (
        lambda root: write_train_folder(root / "pets"),
        "train",
        ["only one class", "data.path=", "/pets, or"],
    ),
    "a part with one class": (
        lambda root: [write_class_folders(root, ["cat", "dog"]), write_class_folders(root / "train", ["foo"])],
        "train",
        ["read as a part of data.path=", "only one class, the folder foo", "move or rename it"],
    ),
    "parts inside of the classes": (
        lambda root: [write_class_folders(root / name, ["train", "test"]) for name in ("cat", "dog")],
        "train",
        ["has the parts inside of the classes (cat/test)", "Put the parts outside: test/cat"],
    ),
    "parts without class folders": (
        lambda root: write_class_folders(root, ["train", "test"]),
        "train",
        ["has test, train, which look like splits, not classes", "Sort them into one folder per class"],
    ),
    "a class called train that looks like a part": (
        lambda root: [write_class_folders(root / name, ["a", "b"]) for name in ("car", "train")],
        "test",
        ["has a folder train beside car", "If train is a class too, put its images directly into it"],
    ),
    "labels in a table": (
        lambda root: [write_class_folders(root, ["images"]), (root / "labels.csv").write_text("id,label")],
        "train",
        ["has no class folders", "If labels.csv has their labels: data=table data.path=", "labels.csv."],
    ),
    "labels in a table above": (
        lambda root: [write_flat_folder(root), (root.parent / "train_labels.csv").write_text("id,label")],
        "train",
        ["If train_labels.csv has their labels: data=table data.path="],
    ),
    "another table above": (
        lambda root: [write_flat_folder(root), (root.parent / "costs.csv").write_text("id,label")],
        "train",
        ["its images are not in class folders. Sort them"],
    ),
    "an export of YOLO": (
        lambda root: [write_class_without_images(root), (root / "data.yaml").write_text("names: [cat]")],
        "train",
        ["class folders without images: bird", "data=coco data.path="],
    ),
    "a class without images": (write_class_without_images, "train", ["class folders without images: bird"]),
    "no test folder": (
        write_train_folder,
        "test",
        ["has a folder train, but no folder of test images", "test, val or"],
    ),
    "no training folder": (
        lambda root: write_class_folders(root / "val", ["cat", "dog"]),
        "train",
        ["has a folder val, but no folder of train images", "Name it train"],
    ),
    "classes to test that were not trained": (
        write_other_test_classes,
        "test",
        ["has classes that", "does not have: bird"],
    ),
    "a split of another name": (
        lambda root: write_parquet(root / "extra-00000-of-00001.parquet"),
        "test",
        ["has no split 'test', only extra", "data.test=NAME"],
    ),
    "half a download": (
        lambda root: write_parquet(root / "data" / "train-00000-of-00002.parquet"),
        "train",
        ["has 1 files such as train-00000-of-00002.parquet", "say 2", "Download what is missing"],
    ),
    "two versions in one": (
        lambda root: [write_parquet(root / f"train-00000-of-0000{n}.parquet") for n in (1, 2)],
        "train",
        ["has 2 files such as", "say 1 and 2", "move other versions elsewhere"],
    ),
    "two configurations in one": (
        lambda root: [write_parquet(root / name / "train.parquet") for name in ("fine", "coarse")],
        "train",
        ["has 2 files such as train.parquet", "say 1", "move other versions elsewhere"],
    ),
    "other columns": (
        lambda root: write_parquet(root / "train.parquet", fine_label=[0, 1], label=[[0], [1]]),
        "train",
        ["the column 'label' holds list", "add data.label=fine_label."],
    ),
    "labels left out": (
        lambda root: write_parquet(root / "train.parquet", label=[0, None]),
        "train",
        ["is empty in 1 of 2 rows"],
    ),
    "no images in the column": (
        lambda root: write_parquet(root / "train.parquet", image=[1, 2]),
        "train",
        ["the column 'image' holds", "save each image's file as bytes"],
    ),
    "no such column": (
        lambda root: pyarrow.parquet.write_table(pyarrow.table({"img": [1], "label": [0]}), root / "train.parquet"),
        "train",
        ["has no column 'image', only img, label"],
    ),
    "images that were left elsewhere": (
        lambda root: write_parquet(root / "train.parquet", image=[{"bytes": None, "path": "/nowhere/1.jpg"}] * 2),
        "train",
        ["only a path to this image", "/nowhere/1.jpg"],
    ),
    "identities for labels": (
        lambda root: write_parquet(root / "train.parquet", label=[0, 2**40]),
        "train",
        ["the column 'label' holds numbers from 0 to 1099511627776, too large for labels", "a whole number from 0"],
    ),
    "a table without rows": (
        lambda root: write_parquet(
            root / "train.parquet", image=pyarrow.array([], IMAGE_TYPE), label=pyarrow.array([], "int64")
        ),
        "train",
        ["its split 'train' has no images"],
    ),
    "test images that have no classes": (
        lambda root: [
            write_class_folders(root / "train", ["cat", "dog"]),
            (root / "test").mkdir(),
            write_flat_folder(root / "test"),
        ],
        "test",
        ["but no folder of test images with class folders in it"],
    ),
    "no parquet at all": (
        lambda root: (root / "train.parquet").write_text("<html>"),
        "train",
        ["train.parquet cannot be read: it is not a parquet file"],
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_the_error_for_a_wrong_folder_says_what_is_wrong(kind, tmp_path):
    make, part, expected = WRONG[kind]
    root = tmp_path / "photos"
    root.mkdir()
    make(root)
    with pytest.raises(UserError) as error:
        data.open_split(tables.load_data_row("folder", path=root), part)
    sentence = str(error.value)
    assert error.value.status == ExitCode.DATA and "\n" not in sentence and error.value.option.split(".")[0] == "data"
    assert all(part in sentence for part in expected) and len(sentence) < 400, sentence
