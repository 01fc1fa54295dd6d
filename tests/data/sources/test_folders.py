"""Folders of images become the right split."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from helpers.images import link_folders, make_png, write_class_folders, write_flat_folder
from vitrun import data
from vitrun.config import resolve
from vitrun.data.decode import FORMATS
from vitrun.data.sources import local_files
from vitrun.data.sources.coco import image_paths
from vitrun.data.sources.parquet.find import find_parquet_files
from vitrun.data.sources.registry import open_source
from vitrun.data.split import BadImage
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables
from vitrun.runs import folder_content


def open_part(root: Path, part: str = "train", **options) -> data.Split:
    return local_files.open_path(tables.load_data_row("folder", path=root, **options), part)


def test_a_single_folder_reports_which_of_its_images_are_for_testing(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], 30)
    split = open_part(tmp_path, "test")
    assert len(split) == 6 and split.location == (
        f"{tmp_path}; 6 of its 60 images, 0.1 of each class, are for testing (data.test_share, data.split_seed=0)"
    )


def test_a_single_folder_is_divided_class_by_class(tmp_path):
    for name, count in {"one": 1, "two": 2, "many": 40}.items():
        write_class_folders(tmp_path, [name], count)
    parts = {part: open_part(tmp_path, part, test_share=0.25) for part in ("train", "test")}
    counts = {part: np.bincount(split.labels, minlength=3).tolist() for part, split in parts.items()}
    assert parts["train"].classes == ("many", "one", "two") and counts == {"train": [30, 1, 1], "test": [10, 0, 1]}
    assert "(1 with a single image, one, only to train on)" in parts["test"].location
    assert data.describe_missing_classes(parts["test"]) == "1 of 3 classes (one)"
    other = open_part(tmp_path, "test", test_share=0.25, split_seed=1)
    assert len(other) == 11 and other.keys != parts["test"].keys


def test_images_of_an_unsupported_format_are_reported_and_an_unusual_extension_is_read(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"])
    jpeg = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "2.JFIF").write_bytes(jpeg)
    (tmp_path / "cat" / "3.heic").write_bytes(b"\0\0\0\x18ftypheic")
    split = local_files.open_path(tables.load_data_row("folder", path=tmp_path, train=None), "test")
    errors = {key: read_decoding_error(split, row) for row, key in enumerate(split.keys)}
    assert "cat/3.heic is not a readable image" in errors["cat/3.heic"]
    assert "cat/2.JFIF" in errors and [key for key, error in errors.items() if error] == ["cat/3.heic"]


def test_images_in_deeper_folders_are_reported_in_a_short_line_whatever_their_path(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], 2)
    deep = tmp_path / "cat" / Path(*["d"] * 300)
    deep.mkdir(parents=True)
    (tmp_path / "cat" / "0.png").rename(deep / f"{'n' * 200}.png")
    (note,) = [note for note in open_part(tmp_path).notes if "deeper" in note]
    assert note.startswith("in deeper folders: 1 of ") and "cat/d/d" in note and len(note) < 150


def read_decoding_error(split, row: int) -> str:
    """Return the message with which decoding an image fails, empty if it succeeds."""
    try:
        split.decode(row)
    except BadImage as error:
        return str(error)
    return ""


def test_what_is_no_image_of_a_class_is_left_out_and_reported(tmp_path):
    write_class_folders(tmp_path / "train", ["cat", "dog"])
    write_class_folders(tmp_path / "test", ["cat", "dog"])
    cat = tmp_path / "train" / "cat"
    for folder in (cat / "@eaDir", cat / "deep" / ".thumbnails", tmp_path / "train" / "__MACOSX", tmp_path / "valid"):
        write_class_folders(folder, ["0.jpg"])
    for name in ("._0.png", "Thumbs.db", "notes.txt", "0.nef", "half"):
        (cat / name).write_bytes(b"II*\0 not an image" if name == "0.nef" else b"P5x")
    (tmp_path / "train" / "loose.png").write_bytes(make_png(0))
    os.mkfifo(cat / "pipe.jpg")
    split = open_part(tmp_path)
    assert split.classes == ("cat", "dog") and split.keys == ["cat/0.png", "dog/0.png"]
    assert split.notes == (
        "beside train and test, 1 folder is not read: valid (to test on it: data.test=valid)",
        "left out in train: thumbnails and system files 3 (__MACOSX ...), images outside of class folders 1 "
        "(loose.png), hidden 2 (cat/._0.png ...), files that are not images 3 (cat/0.nef ...), pipes and devices 1 "
        "(cat/pipe.jpg)",
    )
    assert open_part(tmp_path, "test").notes == split.notes[:1]
    same = open_part(tmp_path, "test", test="train").notes[0]
    assert same == "beside train, 2 folders are not read: test, valid (to test on it: data.test=test)"


def test_an_index_of_shards_is_not_listed_among_what_a_folder_has(tmp_path):
    (tmp_path / ".vitrun-index").mkdir()
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"it has a\.tar\. "):
        open_part(tmp_path)


def test_images_are_found_by_their_content_whatever_their_names(tmp_path):
    image = Image.new("RGB", (4, 4))
    names = {"1": "JPEG", "2.jpg_large": "JPEG", "3.ppm": "PPM", "4.TIF": "TIFF", "5.jfif!d": "WEBP", "6.x": "GIF"}
    names |= {"7.avif": "AVIF", "8": "AVIF"} if "AVIF" in FORMATS else {}
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        for name, kind in names.items():
            image.save(tmp_path / folder / name, kind)
    split = open_part(tmp_path, train=None)
    assert len(split) >= 12 and not split.notes
    assert all(split.decode(row).shape == (3, 4, 4) for row in range(len(split)))


@pytest.mark.parametrize("parts", [("Training", "VALID"), ("train", "validation"), ("train", "eval")], ids="-".join)
def test_the_parts_may_have_any_usual_name(parts, tmp_path):
    for number, part in enumerate(parts, 1):
        write_class_folders(tmp_path / part, ["cat", "dog"], number)
    assert [len(open_part(tmp_path, part)) for part in ("train", "test")] == [2, 4]


def test_a_named_part_is_read_or_refused(tmp_path):
    for number, part in enumerate(("train", "val", "mine"), 1):
        write_class_folders(tmp_path / part, ["cat", "dog"], number)
    (tmp_path / "test").mkdir()
    write_flat_folder(tmp_path / "test")
    assert len(open_part(tmp_path, "test")) == 4 and len(open_part(tmp_path, "test", test="mine")) == 6
    for name, message in (("test", "has no class folders with images"), ("other", "has mine, test, train, val")):
        with pytest.raises(UserError, match=message):
            open_part(tmp_path, "test", test=name)


def test_a_class_may_be_called_train(tmp_path):
    write_class_folders(tmp_path, ["car", "plane", "train"], 5)
    split = open_part(tmp_path)
    assert split.classes == ("car", "plane", "train") and split.notes[0].startswith("train is read as a class")


def test_test_classes_are_matched_by_name(tmp_path):
    write_class_folders(tmp_path / "train", ["2", "10", "1"])
    write_class_folders(tmp_path / "test", ["010", "02"])
    split = open_part(tmp_path, "test")
    assert split.classes == ("1", "2", "10") and split.labels.tolist() == [1, 2]


def test_a_table_beside_class_folders_is_not_taken_for_images(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], 3)
    pyarrow.parquet.write_table(pyarrow.table({"file_name": ["cat/0.png"]}), tmp_path / "metadata.parquet")
    assert open_part(tmp_path).notes == ("left out: files that are not images 1 (metadata.parquet)",)


def test_the_name_of_a_class_is_one_line(tmp_path):
    write_class_folders(tmp_path, ["g\nh", "dog"], 2)
    split = open_part(tmp_path, train=None)
    assert split.classes == ("dog", "g\\nh") and not any("\n" in key for key in split.keys)


def test_a_new_image_moves_at_most_one_other_between_training_and_testing(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], count=30)
    row = tables.load_data_row("folder", path=tmp_path)
    before = {part: set(open_source(row, part).keys) for part in ("train", "test")}
    (tmp_path / "cat" / "new.png").write_bytes(make_png(0))
    after = {part: set(open_source(row, part).keys) - {"cat/new.png"} for part in ("train", "test")}
    assert len(before["test"] ^ after["test"]) <= 1 and not after["train"] & after["test"]


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


def test_folders_that_link_to_one_another_have_each_image_once_in_a_class(tmp_path):
    write_class_folders(tmp_path / "all", ["cat", "dog"])
    link_folders(tmp_path / "more", 12)
    (tmp_path / "more" / "3" / "a.png").write_bytes(make_png(5))
    for name in ("cat", "dog"):
        (tmp_path / "all" / name / "more").symlink_to(tmp_path / "more" / "0")
    split = local_files.open_path(tables.load_data_row("folder", path=tmp_path / "all", train=None), "test")
    assert sorted(map(os.path.basename, split.keys)) == ["0.png", "0.png", "a.png", "a.png"]
    assert "further links to a folder" in split.notes[0]


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


def test_folders_may_be_nested_more_deeply_than_calls(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], 3)
    image = (tmp_path / "dog").joinpath(*["d"] * 300, "0.png")
    image.parent.mkdir(parents=True)
    image.write_bytes(make_png(7))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        assert sum(len(key) > 600 for part in ("train", "test") for key in open_part(tmp_path, part).keys) == 1
        assert len([*folder_content.walk_folder(str(tmp_path), frozenset())]) == 7
        assert not find_parquet_files(tmp_path) and len(image_paths.index_files(tmp_path)["0"]) == 3
    finally:
        sys.setrecursionlimit(limit)
