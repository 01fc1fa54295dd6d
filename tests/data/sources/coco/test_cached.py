"""The table of a large file is parsed once, and again if the file or the table is damaged or changed."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from helpers.boxes import make_tree
from vitrun.data.sources.coco import cached
from vitrun.runtime import array_cache


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Return a file whose table is stored, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cached, "STORED_FROM", 0)
    tree = make_tree()
    tree["images"][0]["file_name"] = "ü\udcff\n.png"
    (tmp_path / "boxes.json").write_text(json.dumps(tree))
    return tmp_path / "boxes.json"


def test_a_stored_table_equals_the_parsed_one_and_is_not_parsed_again(file, monkeypatch):
    parsed = cached.load_annotations(file)
    with monkeypatch.context() as patch:
        patch.setattr(cached, "read_annotations", None)
        stored = cached.load_annotations(file)
    assert (stored.files, stored.classes) == (parsed.files, parsed.classes)
    for name, array in asdict(parsed.table).items():
        other = getattr(stored.table, name)
        assert other.dtype == array.dtype and np.array_equal(other, array)
    file.write_text(json.dumps(make_tree(7)))
    assert len(cached.load_annotations(file).files) == 7


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "folder"])
def test_a_damaged_table_is_made_again(damage, file, tmp_path):
    parsed = cached.load_annotations(file)
    (store,) = (tmp_path / "cache/vitrun" / array_cache.FOLDER).glob("*.npz")
    whole = store.read_bytes()
    if damage == "flip":
        for place in range(0, len(whole), 97):
            store.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            arrays = array_cache.load_arrays(store)
            assert arrays is None or np.array_equal(arrays["corners"], parsed.table.corners)
    elif damage == "folder":
        store.unlink()
        store.mkdir()
    else:
        store.write_bytes({"cut": whole[:-100], "empty": b"", "text": b"no arrays"}[damage])
    assert np.array_equal(cached.load_annotations(file).table.corners, parsed.table.corners)
    assert damage == "folder" or array_cache.load_arrays(store) is not None
