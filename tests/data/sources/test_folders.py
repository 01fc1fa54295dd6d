"""Folders of images become the right split, and a wrong folder is an error."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from helpers.images import IMAGE_TYPE, make_png, write_class_folders, write_flat_folder, write_parquet
from vitrun import data
from vitrun.config import resolve
from vitrun.data.sources import local_files
from vitrun.data.sources.registry import open_source
from vitrun.data.split import BadImage
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables


def test_a_single_folder_reports_which_of_its_images_are_for_testing(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], 30)
    split = local_files.open_path(tables.load_data_row("folder", path=tmp_path), "test")
    assert (
        0 < len(split) < 15
        and split.location == f"{tmp_path}; a tenth of its images, chosen by a hash of their names, is for testing"
    )


def test_images_of_an_unsupported_format_are_reported_and_an_unusual_extension_is_read(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"])
    jpeg = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "2.JFIF").write_bytes(jpeg)
    (tmp_path / "cat" / "3.heic").write_bytes(b"\0\0\0\x18ftypheic")
    split = local_files.open_path(tables.load_data_row("folder", path=tmp_path, train=None), "test")
    errors = {key: read_decoding_error(split, row) for row, key in enumerate(split.keys)}
    assert "cat/3.heic is not a readable image" in errors["cat/3.heic"]
    assert "cat/2.JFIF" in errors and [key for key, error in errors.items() if error] == ["cat/3.heic"]


def read_decoding_error(split, row: int) -> str:
    """Return the message with which decoding an image fails, empty if it succeeds."""
    try:
        split.decode(row)
    except BadImage as error:
        return str(error)
    return ""


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
    "no format we read": (write_other_files, "train", ["it has cat", "the suffixes of images are .bmp"]),
    "one level too high": (
        lambda root: write_train_folder(root / "pets"),
        "train",
        ["only one class", "data.path=", "/pets, or"],
    ),
    "a class without images": (write_class_without_images, "train", ["class folders without images: bird"]),
    "no test folder": (write_train_folder, "test", ["has a folder train, but no folder of test images", "test or val"]),
    "no training folder": (
        lambda root: write_class_folders(root / "val", ["cat", "dog"]),
        "train",
        ["has a folder val, but no folder of train images", "name it train"],
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
        ["the column 'label' holds list", "data.label=COLUMN"],
    ),
    "labels left out": (
        lambda root: write_parquet(root / "train.parquet", label=[0, None]),
        "train",
        ["is empty in 1 of 2 rows"],
    ),
    "no images in the column": (
        lambda root: write_parquet(root / "train.parquet", image=[1, 2]),
        "train",
        ["the column 'image' holds", "data.image=COLUMN"],
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
        ["the column 'label' holds numbers from 0 to 1099511627776, too large for labels", "data.label=COLUMN"],
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
        ["its images are not in class folders", "Sort them"],
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
    make(tmp_path)
    with pytest.raises(UserError) as error:
        data.open_split(tables.load_data_row("folder", path=tmp_path), part)
    sentence = str(error.value)
    assert error.value.status == ExitCode.DATA and "\n" not in sentence
    assert all(part in sentence for part in expected), sentence


def test_files_of_the_operating_system_are_ignored(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"])
    for name in (".ipynb_checkpoints", "__MACOSX"):
        write_class_folders(tmp_path, [name])
    (tmp_path / "cat" / "._0.png").write_bytes(b"not an image")
    split = local_files.open_path(tables.load_data_row("folder", path=tmp_path, train=None), "test")
    assert split.classes == ("cat", "dog") and split.keys == ["cat/0.png", "dog/0.png"]


def test_a_new_image_does_not_move_others_between_training_and_testing(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], count=30)
    row = tables.load_data_row("folder", path=tmp_path)
    before = {part: set(open_source(row, part).keys) for part in ("train", "test")}
    (tmp_path / "cat" / "new.png").write_bytes(make_png(0))
    after = {part: set(open_source(row, part).keys) - {"cat/new.png"} for part in ("train", "test")}
    assert before == after and before["test"] and not before["train"] & before["test"]


def test_a_class_without_test_images_keeps_its_label(tmp_path):
    write_class_folders(tmp_path / "train", ["cat", "dog", "owl"])
    write_class_folders(tmp_path / "test", ["owl", "cat"])
    split = data.open_split(tables.load_data_row("folder", path=tmp_path), "test")
    assert split.classes == ("cat", "dog", "owl") and split.labels.tolist() == [0, 2]


def test_the_unlabelled_test_images_of_imagenet_are_ignored(tmp_path):
    write_class_folders(tmp_path / "train", ["cat", "dog"])
    write_class_folders(tmp_path / "val", ["cat", "dog"])
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "ILSVRC2012_test_00000001.png").write_bytes(make_png(0))
    assert len(data.open_split(tables.load_data_row("folder", path=tmp_path), "test")) == 2


def test_links_to_folders_are_followed_but_not_in_cycles(tmp_path):
    write_class_folders(tmp_path / "elsewhere", ["more"], count=3)
    write_class_folders(tmp_path / "all", ["cat", "dog"])
    (tmp_path / "all" / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "all" / "cat" / "back").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "cat" / "itself").symlink_to(tmp_path / "all" / "cat" / "itself")
    split = local_files.open_path(tables.load_data_row("folder", path=tmp_path / "all", train=None), "test")
    assert split.keys == ["cat/0.png", "cat/more/0.png", "cat/more/1.png", "cat/more/2.png", "dog/0.png"]


def test_a_file_name_that_is_not_utf8_is_displayed_and_hashed(photographs):
    (photographs / "train" / "cat" / "0.jpg").rename(
        os.fsdecode(bytes(photographs / "train" / "cat") + b"/caf\xe9.jpg")
    )
    for part in (photographs, photographs / "train"):
        split = data.open_split(resolve.resolve_recipe("pretrain", ["data=folder", f"data.path={part}"]).data, "train")
        assert len(split.fingerprint) == 16 and sum(r"caf\xe9.jpg" in key for key in split.keys) <= 1


def test_the_whole_file_system_is_refused_at_once():
    with pytest.raises(UserError) as error:
        open_source(tables.load_data_row("folder", path=Path("/")), "train")
    assert (error.value.status, error.value.option) == (ExitCode.DATA, "data.path")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can list")
def test_the_error_names_a_folder_that_cannot_be_listed():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # /proc of a process that ended cannot be listed
    try:
        with pytest.raises(UserError) as error:
            open_source(tables.load_data_row("folder", path=Path(f"/proc/{dead.pid}")), "train")
    finally:
        dead.wait()
    assert (error.value.status, error.value.option) == (ExitCode.DATA, "data.path")
    assert f"cannot list /proc/{dead.pid}/" in str(error.value)
