"""Images with captions in web shards."""

import json

import numpy as np
import pytest

from helpers.tars import make_coloured_image, write_tar
from vitrun import data
from vitrun.data.sources.captions.listing import EMPTY, NO_CAPTION, NOT_UTF8
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables

MEMBERS = {  # by the name of a sample: its files beside the image
    "a": {"txt": b"one\ntwo\n", "json": json.dumps({"caption": ["x", "y"], "alt": "z"}).encode()},
    "b": {"json": b'{"caption": "w"}'},
    "c": {"txt": b" "},
    "d": {"txt": b"caf\xe9"},
    "e": {"txt": "café".encode()},
}


def write_shards(folder) -> None:
    """Write a shard for training, one for testing, and a file that belongs to no image."""
    files = [
        (f"{name}.{suffix}", content)
        for number, (name, parts) in enumerate(MEMBERS.items())
        for suffix, content in {"jpg": make_coloured_image(number, "jpeg"), **parts}.items()
    ]
    write_tar(folder / "train-0.tar", [*files, ("f.txt", b"alone")])
    write_tar(folder / "val-0.tar", files)


def open_part(folder, part="train", **options) -> data.Split:
    """Return a part of the pairs in a folder."""
    return data.open_split(tables.load_data_row("pairs", path=folder, **options), part)


def test_pairs_are_read_from_texts_or_a_field_of_the_json(tmp_path):
    write_shards(tmp_path)
    split = open_part(tmp_path)
    assert [split.read_captions(row) for row in range(5)] == [("one", "two"), (), (), (), ("café",)]
    assert split.unusable == {1: NO_CAPTION, 2: EMPTY, 3: NOT_UTF8}
    assert any("1 of 5 images with an empty one: train-0.tar/c" in note for note in split.notes), split.notes
    part = split.select(np.array([0, 2, 4]))
    assert part.read_captions(2) == ("café",) and part.unusable == {1: EMPTY}
    field = open_part(tmp_path, caption="caption")
    assert [field.read_captions(row) for row in range(2)] == [("x", "y"), ("w",)] and len(field.unusable) == 3
    assert field.fingerprint != split.fingerprint
    again = open_part(tmp_path)
    assert again.fingerprint == split.fingerprint and again.read_captions(0) == ("one", "two"), "by the stored index"


def test_a_changed_caption_changes_the_fingerprint(tmp_path):
    write_shards(tmp_path)
    before = open_part(tmp_path).fingerprint
    MEMBERS["a"]["txt"], text = b"one\nred\n", MEMBERS["a"]["txt"]
    write_shards(tmp_path)
    MEMBERS["a"]["txt"] = text
    assert open_part(tmp_path).fingerprint != before


def test_a_tar_without_captions_is_one_sentence(tmp_path):
    for part in ("train", "val"):
        write_tar(tmp_path / f"{part}.tar", [(f"{n}.jpg", make_coloured_image(n, "jpeg")) for n in range(3)])
    with pytest.raises(UserError, match="data.caption=txt") as error:
        open_part(tmp_path)
    assert error.value.status == ExitCode.DATA and len(str(error.value)) < 400
