"""Parquet files become the right split."""

import base64
import shutil
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


def open_part(folder, *overrides: str, part: str = "train") -> data.Split:
    """Return a part of the folder."""
    return data.open_split(
        resolve.resolve_recipe("pretrain", ["data=parquet", f"data.path={folder}", *overrides]).data, part
    )


TEXTS = ["dog", "ant", "dog", "cat"]
LABELS = {
    "texts": (TEXTS, ["ant", "cat", "dog"], [2, 0, 2, 1], "are texts"),
    "categories": (pyarrow.array(TEXTS).dictionary_encode(), ["ant", "cat", "dog"], [2, 0, 2, 1], "are texts"),
    "booleans": ([True, False, True, True], ["false", "true"], [1, 0, 1, 1], "are booleans"),
    "floats": ([1.0, 0.0, 1.0, 2.0], ["0", "1", "2"], [1, 0, 1, 2], "are floats"),
}


@pytest.mark.parametrize("labels, classes, numbers, note", LABELS.values(), ids=[*LABELS])
def test_labels_that_are_no_integers_become_classes_and_it_is_noted(labels, classes, numbers, note, tmp_path):
    write_parquet(tmp_path / "train.parquet", image=[make_png(n) for n in range(4)], label=labels)
    write_parquet(tmp_path / "test.parquet", image=[make_png(9)], label=labels[2:3])
    split, test = open_part(tmp_path), open_part(tmp_path, part="test")
    assert split.labels.tolist() == numbers and split.classes == tuple(classes) and note in split.notes[0]
    assert test.labels.tolist() == numbers[2:3] and (test.classes == split.classes or note != "are texts")


@pytest.mark.parametrize("kind", ["uint8", "uint64", "int8"])
def test_labels_may_be_integers_of_any_type(kind, tmp_path):
    write_parquet(tmp_path / "train.parquet", label=pyarrow.array([0, 3], kind))
    assert open_part(tmp_path).labels.tolist() == [0, 3]


def test_a_header_that_is_nested_too_deeply_says_nothing_of_the_classes(tmp_path):
    write_parquet(tmp_path / "train.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "train.parquet")
    deep = table.replace_schema_metadata({b"huggingface": b"[" * 10**5})
    pyarrow.parquet.write_table(deep, tmp_path / "train.parquet")
    assert open_part(tmp_path).classes == ("0", "1")


NAMES = [
    (["train-clean.parquet"], "train-clean"),
    ([f"train_{n}.parquet" for n in range(12)], "train"),
    ([f"train/part-{n:05}-9c1f-c000.snappy.parquet" for n in range(12)], "train"),
    ([f"train/{n}.parquet" for n in range(12)], "train"),
    (["data/train-00000-of-00002-abc.parquet", "data/train-00001-of-00002-def.parquet"], "train"),
]


@pytest.mark.parametrize("names, split", NAMES, ids=[names[0] for names, _ in NAMES])
def test_a_split_has_its_files_in_natural_order(names, split, tmp_path):
    for number, name in enumerate(names):
        write_parquet(tmp_path / name, image=[make_png(number)], label=[number])
    assert open_part(tmp_path, f"data.train={split}").labels.tolist() == [*range(len(names))]


def test_a_split_called_validation_is_the_test_part(tmp_path):
    write_parquet(tmp_path / "train.parquet")
    write_parquet(tmp_path / "validation.parquet", label=[1, 1])
    assert open_part(tmp_path, part="test").labels.tolist() == [1, 1]


def test_a_folder_that_datasets_saved_is_read_in_place(tmp_path):
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [{"bytes": make_png(n), "path": None} for n in range(6)], "label": [0, 1] * 3}
    saved = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features))
    saved["test"] = saved["train"].select([5, 0])
    saved.save_to_disk(tmp_path, num_shards={"train": 2, "test": 1})
    before = sorted(tmp_path.rglob("*"))
    split, test = open_part(tmp_path), open_part(tmp_path, part="test")
    assert split.classes == ("cat", "dog") and split.labels.tolist() == [0, 1] * 3 and test.labels.tolist() == [1, 0]
    assert (test.pixels[0] == split.pixels[5]).all() and sorted(tmp_path.rglob("*")) == before


def test_a_column_that_cannot_be_read_in_place_is_read_into_memory_or_copied(tmp_path, monkeypatch):
    import datasets

    write_parquet(tmp_path / "train.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "train.parquet")
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet", compression="zstd")
    in_memory = open_part(tmp_path)
    monkeypatch.setattr("vitrun.data.sources.parquet.open.MOST_IN_MEMORY", 0)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free._replace(free=10))
    with pytest.raises(
        UserError, match="compressed by zstd, so that a copy is needed of .* HF_DATASETS_CACHE"
    ) as error:
        open_part(tmp_path)
    assert error.value.status == ExitCode.SPACE
    monkeypatch.undo()
    monkeypatch.setattr("vitrun.data.sources.parquet.open.MOST_IN_MEMORY", 0)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    copied = open_part(tmp_path)
    assert (copied.pixels == in_memory.pixels).all() and copied.fingerprint == in_memory.fingerprint


def wrong_folder(folder, case: str) -> list[str]:
    """Write a folder that cannot be used; return what the message about it says."""
    columns = {
        "base64": {"image": [base64.b64encode(make_png(n)).decode() for n in range(2)]},
        "urls": {"image": ["https://host/a.jpg", "https://host/b.jpg"]},
        "lists": {"image": [[{"bytes": make_png(n)}] for n in range(2)]},
        "no label": {"label": pyarrow.array([0, None])},
        "fractions": {"label": [0.5, 1.0]},
        "missing file": {"image": ["image.jpg", "b.jpg"]},
        "device": {"image": ["/dev/zero", "/dev/zero"]},
        "numbers for bytes": {"image": [{"bytes": n, "path": "a.jpg"} for n in range(2)]},
        "numbers for paths": {"image": [{"bytes": None, "path": n} for n in range(2)]},
        "numbers over 2**63": {"label": pyarrow.array([0, 2**64 - 1], "uint64")},
    }
    file = folder / "train.parquet"
    write_parquet(file, **columns.get(case, {}))
    if case == "rows":
        pyarrow.parquet.write_table(
            pyarrow.table({"image": pyarrow.nulls(10**5, "binary"), "label": [0] * 10**5}), file
        )
    if case == "column twice":
        table = pyarrow.parquet.read_table(file)
        pyarrow.parquet.write_table(table.append_column("label", table["label"]), file)
    if case in FEATURES:
        features = {b"huggingface": b'{"info": {"features": ' + FEATURES[case] + b"}}"}
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).replace_schema_metadata(features), file)
    if case == "bomb":
        zeros = pyarrow.table({"image": [bytes(10**7)], "label": [0]})
        pyarrow.parquet.write_table(zeros, file, compression="zstd")
    if case == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    if case == "pointer":
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    if case == "page":
        file.write_bytes(b"<html>404</html>")
    return [str(column) for column in columns[case]] if case in columns else [file.name]


FEATURES = {  # what `datasets` says of the columns
    "names no list": b'{"label": {"names": 5}}',
    "names no texts": b'{"label": {"names": [1, [2]]}}',
    "names twice": b'{"label": {"names": ["a", "a"]}}',
}
WRONG = {
    "numbers for bytes": "instead of images",
    "numbers for paths": "instead of images",
    "numbers over 2**63": "too large for labels",
    "column twice": "has 2 columns called 'label'",
    **dict.fromkeys(FEATURES, "a list of different texts is needed"),
    "base64": "holds base64 text: decode it",
    "urls": "holds URLs: download the images",
    "lists": "instead of images",
    "no label": "is empty in 1 of 2 rows",
    "fractions": "holds numbers such as 0.5, which are not classes",
    "missing file": "only a path to this image, which cannot be read",
    "device": "/dev/zero: the table has only a path to this image, which cannot be read: it is a pipe or a device",
    "rows": "it has 100,000 rows in ",
    "bomb": "and so no images",
    "cut": "its end is missing, so it was cut short",
    "pointer": "it is a pointer of Git LFS",
    "page": "it is not a parquet file",
}


@pytest.mark.parametrize("case, message", WRONG.items(), ids=[*WRONG])
def test_the_error_says_what_is_wrong_with_a_folder(case, message, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrun.data.sources.parquet.open.MOST_IN_MEMORY", 10**6)
    monkeypatch.setattr("vitrun.data.sources.parquet.open.LEAST_EXPANDED", 10**6)
    names = wrong_folder(tmp_path, case)
    with pytest.raises(UserError) as error:
        open_part(tmp_path).decode(0)
    assert error.value.status == ExitCode.DATA and message in str(error.value) and len(str(error.value)) < 400
    assert any(name in str(error.value) for name in names)
