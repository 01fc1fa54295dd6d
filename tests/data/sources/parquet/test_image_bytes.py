"""The bytes of images in parquet files are read in place, one by one."""

from itertools import product

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from helpers.images import IMAGE_TYPE, make_png
from vitrun.data.sources.parquet import files, image_bytes
from vitrun.data.sources.parquet.pages import NotInPlace
from vitrun.errors import UserError

IMAGES = [
    make_png(n % 50) + bytes(7000 * (n % 11)) for n in range(70)
]  # some twice, some longer than Snappy's fragments
IMAGES[3:6] = [None, b"", None]
COLUMNS = {
    "bytes": pyarrow.array(IMAGES, pyarrow.binary()),
    "struct": pyarrow.array(
        [None if n == 5 else {"bytes": image, "path": None} for n, image in enumerate(IMAGES)], IMAGE_TYPE
    ),
}
FORMATS = [*product(COLUMNS, ["none", "snappy"], [True, False], ["1.0", "2.0"])]


def open_reader(path):
    """Return the function that reads an image of the column ``image``, and where the images lie."""
    header = files.read_header(path)
    leaf = files.find_leaf(header, "image")
    ranges = image_bytes.locate_images([path, path], [header.parquet] * 2, leaf, lambda: None)
    return image_bytes.make_reader([path, path], ranges), ranges


@pytest.mark.parametrize("column, compression, dictionary, version", FORMATS)
def test_every_image_is_read_on_its_own_from_every_format(column, compression, dictionary, version, tmp_path):
    path, table = tmp_path / "a.parquet", pyarrow.table({"image": COLUMNS[column], "label": range(70)})
    pyarrow.parquet.write_table(
        table, path, compression=compression, use_dictionary=dictionary, data_page_version=version,
        row_group_size=40, data_page_size=100_000, write_batch_size=8,
    )  # fmt: skip
    read_bytes, ranges = open_reader(path)
    rows = np.random.default_rng(0).permutation(140).tolist()
    assert [read_bytes(row) for row in rows] == [IMAGES[row % 70] for row in rows]
    assert ranges.sizes.tolist() == [-1 if image is None else len(image) for image in IMAGES] * 2


def test_no_more_than_the_fragments_of_an_image_are_read(tmp_path):
    noise = [np.random.default_rng(n).bytes(100_000) for n in range(30)]
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": noise}), path, compression="snappy", use_dictionary=False)
    _, ranges = open_reader(path)
    assert (ranges.lengths >= 3_000_000).any() and np.diff(
        ranges.fragments[: len(ranges.fragments) // 2]
    ).max() < 70_000


def test_an_index_of_many_bytes_is_stored_and_a_damaged_one_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_bytes, "STORED_FROM", 0)
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": COLUMNS["bytes"]}), path)
    first, _ = open_reader(path)
    (store,) = (tmp_path / "cache").rglob("*.npz")
    scan = image_bytes.scan_files
    monkeypatch.setattr(image_bytes, "scan_files", None)
    assert open_reader(path)[0](9) == first(9) == IMAGES[9]
    store.write_bytes(b"half")
    monkeypatch.setattr(image_bytes, "scan_files", scan)
    assert open_reader(path)[0](9) == IMAGES[9]


def test_many_files_are_read_without_staying_open(tmp_path, monkeypatch):
    monkeypatch.setattr(image_bytes, "MOST_MAPPED", 1)
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": COLUMNS["bytes"]}), path)
    assert [open_reader(path)[0](row) for row in (9, 79)] == [IMAGES[9], IMAGES[9]]


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_a_format_that_cannot_be_read_in_place_is_said_to_be_one(compression, tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": COLUMNS["bytes"]}), path, compression=compression)
    with pytest.raises(NotInPlace, match=f"compressed by {compression}"):
        open_reader(path)


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_damage_is_an_error_that_names_the_file_or_stays_in_an_image(compression, tmp_path):
    path, generator = tmp_path / "a.parquet", np.random.default_rng(0)
    pyarrow.parquet.write_table(pyarrow.table({"image": IMAGES[6:20]}), path, compression=compression)
    content = path.read_bytes()
    for trial in range(60):
        changed = bytearray(content)
        for at in generator.integers(len(content) - 900 if trial % 2 else 0, len(content), 5):
            changed[at] = generator.integers(256)
        path.write_bytes(changed if trial % 3 else changed[: generator.integers(len(content))])
        try:
            read_bytes, ranges = open_reader(path)
            assert len(ranges.sizes) == 28 and isinstance(read_bytes(0), bytes)
        except (UserError, NotInPlace, OSError) as error:  # the last if a damaged fragment is read
            assert "a.parquet" in str(error) or not isinstance(error, UserError)
