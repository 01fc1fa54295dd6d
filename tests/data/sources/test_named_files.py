"""Files that tables name lie below the folders of a recipe, by whose files a run is identified."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from helpers.images import make_png
from vitrun import data
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables


def write_set(folder: Path, source: str, image_folder: str) -> Path:
    """Write images in ``images`` and a file in ``set`` that names them from ``image_folder``; return that file."""
    (folder / "images").mkdir()
    (folder / "set").mkdir()
    names = [f"{image_folder}/{row}.png" for row in range(4)]
    for row in range(4):
        (folder / "images" / f"{row}.png").write_bytes(make_png(row))
    if source == "parquet":
        images = [{"bytes": None, "path": name} for name in names]
        table = pyarrow.table({"image": images, "label": [0, 1, 0, 1]})
        pyarrow.parquet.write_table(table, folder / "set" / "test.parquet")
        return folder / "set"
    if source == "coco":
        return write_coco(folder / "set" / "set.json", names)
    column = {"table": "label", "captions": "caption"}[source]
    rows = [f"{name},{'ab'[row % 2]}" for row, name in enumerate(names)]
    (folder / "set" / "set.csv").write_text("\n".join([f"image,{column}", *rows]))
    return folder / "set" / "set.csv"


def write_coco(file: Path, names: list[str]) -> Path:
    """Write a JSON of images with a box each; return it."""
    images = [{"id": row, "file_name": name, "width": 8, "height": 8} for row, name in enumerate(names)]
    boxes = [
        {"id": row, "image_id": row, "category_id": 1, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}
        for row in range(4)
    ]
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}))
    return file


def count_images(source: str, path: Path, **options) -> int:
    """Return the number of images of a set that are there."""
    extra = {} if source == "parquet" else {"train": None}
    split = data.open_split(tables.load_data_row(source, path=path, **extra, **options), "test")
    return len(split) - len(split.unusable)


@pytest.mark.parametrize("source", ["table", "captions", "coco", "parquet"])
@pytest.mark.parametrize("above", ["..", "absolute"])
def test_images_outside_of_the_folders_of_a_recipe_are_refused(source, above, tmp_path):
    path = write_set(tmp_path, source, "../images" if above == ".." else str(tmp_path / "images"))
    with pytest.raises(UserError, match=r"outside of .*0\.png.* unnoticed|0\.png is outside of .* unnoticed") as error:
        count_images(source, path)
    assert error.value.status == ExitCode.DATA
    if above == "absolute" and source != "parquet":
        assert f"add data.images={tmp_path / 'images'}" in str(error.value)
        assert count_images(source, path, images=tmp_path / "images") == 4


def test_images_that_are_links_or_named_by_another_path_of_the_folder_are_read(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    path = write_set(tmp_path, "table", str(tmp_path / "link" / "images"))
    assert count_images("table", path, images=tmp_path / "images") == 4
    (tmp_path / "set" / "near").symlink_to(tmp_path / "images")
    path.write_text(path.read_text().replace(str(tmp_path / "link" / "images"), "near"))
    assert count_images("table", path) == 4
