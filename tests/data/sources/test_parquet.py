"""Parquet files become the right split."""

from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from helpers.images import IMAGE_TYPE, make_png, write_parquet
from vitrun import data
from vitrun.config import resolve
from vitrun.data.decode import decode_image
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables


def test_the_error_for_an_unexpected_size_gives_both_numbers(tmp_path):
    write_parquet(tmp_path / "test-00000-of-00001.parquet")
    pets = tables.load_data_row("pets", path=tmp_path)
    with pytest.raises(
        UserError, match=r"3,669 test images as published, but its source has 2. .*data.test_images=2 "
    ) as error:
        data.open_split(pets, "test")
    assert error.value.status == ExitCode.DATA
    with pytest.raises(UserError, match="has 37 classes, but its source has 2"):
        data.open_split(replace(pets, test_images=2), "test")
    assert len(data.open_split(replace(pets, test_images=None, classes=2), "test")) == 2


def test_an_image_given_by_path_is_read_from_beside_its_table_and_a_missing_one_is_bad(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(make_png(1))
    cells = [{"bytes": None, "path": "photos/1.png"}, {"bytes": None, "path": None}, None]
    write_parquet(tmp_path / "test.parquet", image=pyarrow.array(cells, IMAGE_TYPE), label=[0, 1, 1])
    split = data.open_split(tables.load_data_row("parquet", path=tmp_path), "test")
    assert split.decode(0).shape == decode_image(make_png(1)).shape
    assert list(data.find_bad_images(split)) == [1, 2]
    assert "00000001/ is not a readable image: its row in the table is empty" in str(data.find_bad_images(split)[1])


def test_the_hub_layout_is_read_from_a_local_copy(tmp_path):
    import datasets

    sizes = ["data.train_images=20", "data.test_images=10"]
    generator = np.random.default_rng(0)
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=[f"c{n}" for n in range(10)])}
    )
    for split, number in (("train", 20), ("test", 10)):
        rows = [Image.fromarray(generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(number)]
        table = datasets.Dataset.from_dict({"img": rows, "label": [n % 10 for n in range(number)]}, features)
        (tmp_path / "copy").mkdir(exist_ok=True)
        table.to_parquet(tmp_path / "copy" / f"{split}-00000-of-00001.parquet")
    recipe = resolve.resolve_recipe("pretrain", ["data=cifar10", f"data.path={tmp_path / 'copy'}", *sizes])
    train, test = (data.open_split(recipe.data, part) for part in ("train", "test"))
    assert (len(train), len(test)) == (20, 10) and train.classes[3] == "c3"
    assert train.pixels.shape == (20, 3, 32, 32) and train.labels.tolist() == [n % 10 for n in range(20)]
    assert len({*train.keys, *test.keys}) >= 20 and train.fingerprint != test.fingerprint
