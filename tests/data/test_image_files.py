"""Images that a user names are read in order, each once; those that cannot be read are bad images."""

import os

import numpy as np
import pytest

from helpers.image_files import BAD_FILES, JPEG, PNG
from vitrun import data
from vitrun.data.split import BadImage


def test_files_folders_and_patterns_are_read_in_order_and_each_file_once(tmp_path):
    for name in ("z.jpg", "set/b/2.jpg", "set/a/1.png", "set/notes.txt", "set/.thumb.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG if name.endswith(".png") else JPEG)
    (tmp_path / "set" / "up").symlink_to(tmp_path / "set")
    files, left_out = data.list_image_files([f"{tmp_path}/z.jpg", f"{tmp_path}/set", f"{tmp_path}/set/*/*.jpg"])
    assert "notes.txt" in left_out.describe()
    split = data.open_image_files(files)
    assert [os.path.relpath(key, tmp_path) for key in split.keys] == ["z.jpg", "set/a/1.png", "set/b/2.jpg"]
    assert np.array_equal(split.decode(0), split.decode(2)) and split.exif


def test_files_that_cannot_be_read_are_reported_and_left_out(tmp_path):
    (tmp_path / "good.jpg").write_bytes(JPEG)
    (tmp_path / "bad.jpg").write_bytes(BAD_FILES["cut short, JPEG"][0])
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    split, lines = data.open_image_files(data.list_image_files([f"{tmp_path}/*.jpg"])[0]), []
    assert len(split) == 3
    with pytest.raises(BadImage, match="gone.jpg cannot be read: No such file"):
        split.decode(1)
    readable = data.drop_bad_images(split, lines.append)
    assert [os.path.basename(key) for key in readable.keys] == ["good.jpg"] and readable.skipped == 2
    assert sum("bad.jpg" in line for line in lines) == sum("gone.jpg" in line for line in lines) == 1


def test_a_pattern_without_files_and_an_address_are_bad_images(tmp_path):
    files, _ = data.list_image_files([f"{tmp_path}/*.jpg", "https://example.com/cat.jpg"])
    split = data.open_image_files(files)
    for row, why in enumerate(("No such file", "download it first")):
        with pytest.raises(BadImage, match=why):
            split.decode(row)
