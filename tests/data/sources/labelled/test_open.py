"""Images whose labels are in a table: the same split as of class folders, whatever the table looks like."""

import csv
import json
from pathlib import Path

import pytest

from helpers.images import make_png, write_class_folders
from vitrun import data
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables

LABELS = {f"{n}.png": ("cat", "grüne Katze")[n % 2] for n in range(10)}


def write_images(folder: Path, names=LABELS) -> None:
    """Write an image for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(make_png(number))


def write_table(file: Path, rows, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    """Write a CSV or TSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="", encoding=encoding) as lines:
        csv.writer(lines, delimiter=delimiter).writerows(rows)
    return file


def open_part(path: Path, part: str = "train", **options) -> data.Split:
    """Return a part of the images that a table names."""
    return data.open_split(tables.load_data_row("table", path=path, **options), part)


def read_labels(*parts: data.Split) -> dict[str, str]:
    """Return the class of each image by the name of its file."""
    return {
        key.rpartition("/")[2]: part.classes[part.labels[row]] for part in parts for row, key in enumerate(part.keys)
    }


@pytest.mark.parametrize(
    ("name", "header", "delimiter", "encoding", "form"),
    [
        ("labels.csv", ("filename", "label"), ",", "utf-8", "{}"),
        ("labels.csv", ("id", "class"), ";", "utf-8-sig", "{}"),
        ("a.tsv", ("image_id", "category"), "\t", "utf-16", "{}"),
        ("labels.csv", ("Path", "Species"), ",", "utf-8", "sub\\{}"),
    ],
)
@pytest.mark.parametrize("suffix", [True, False])
def test_a_table_gives_each_image_its_label(name, header, delimiter, encoding, form, suffix, tmp_path):
    write_images(tmp_path / "sub" if "sub" in form else tmp_path)
    rows = [(form.format(name if suffix else name[:-4]), label) for name, label in LABELS.items()]
    table = write_table(tmp_path / name, [header, *rows], delimiter, encoding)
    parts = [open_part(table, part) for part in ("train", "test")]
    assert read_labels(*parts) == LABELS and [len(part) for part in parts] == [8, 2]


def test_json_lines_and_numbered_classes_are_read(tmp_path):
    write_images(tmp_path, [f"{n}.png" for n in range(12)])
    lines = [json.dumps({"file_name": f"{n}.png", "label": n}) for n in range(12)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    split = open_part(tmp_path, "test", train=None)
    assert split.classes == tuple(map(str, range(12))) and split.labels.tolist() == [*range(12)]


def test_a_table_is_divided_as_class_folders_are(tmp_path):
    folders, flat = tmp_path / "folders", tmp_path / "flat"
    write_class_folders(folders, ["cat", "dog"], 20)
    keys = sorted(path.relative_to(folders).as_posix() for path in folders.rglob("*.png"))
    write_table(flat / "labels.csv", [("path", "label"), *((key, key[:3]) for key in keys)])
    (flat / "cat").symlink_to(folders / "cat"), (flat / "dog").symlink_to(folders / "dog")
    expected = data.open_split(tables.load_data_row("folder", path=folders), "test")
    assert open_part(flat, "test").keys == expected.keys
    assert open_part(flat, "test").fingerprint == expected.fingerprint


def test_the_folder_of_the_images_is_found_beside_the_table_and_named(tmp_path):
    for part, numbers in (("train", range(8)), ("test", range(8, 10))):
        names = [f"{n}.png" for n in numbers]
        write_images(tmp_path / part, names)
        write_table(tmp_path / f"{part}.csv", [("id", "label"), *((name[:-4], LABELS[name]) for name in names)])
    train, test = open_part(tmp_path), open_part(tmp_path, "test")
    assert read_labels(train, test) == LABELS and test.keys == ["test/8.png", "test/9.png"]
    assert any(f"are in {tmp_path / 'train'} (data.images)" in note for note in train.notes)
    alone = open_part(tmp_path / "train.csv", "test")
    assert {*alone.keys} < {*train.keys}


def test_an_image_that_is_not_there_is_unreadable(tmp_path):
    write_images(tmp_path, [*LABELS][:9])
    split = open_part(write_table(tmp_path / "a.csv", [("file", "label"), *LABELS.items()]), "test", train=None)
    assert [*split.unusable] == [9] and split.keys[9] == "9.png"


HEADER = ("file", "label")
WRONG = {
    "no label": ([HEADER, ("0.png", "cat"), ("1.png", "")], {}, "1.png has no label"),
    "two labels": ([HEADER, ("0.png", "cat"), ("0.png", "dog")], {}, "0.png has several labels, cat, dog"),
    "one file twice": ([HEADER, ("0.png", "cat"), ("0", "dog")], {}, "names 0.png twice"),
    "one class": ([HEADER, ("0.png", "cat"), ("1.png", "cat")], {}, "only one class, cat"),
    "no column of labels": ([("file", "breed"), ("0.png", "cat")], {}, "add data.label=COLUMN"),
    "an unknown column": ([HEADER, ("0.png", "cat")], {"label": "lable"}, "Did you mean label"),
    "images elsewhere": ([HEADER, ("x/y.png", "cat"), ("z.png", "dog")], {}, "add data.images=FOLDER"),
    "addresses": ([HEADER, ("https://a.org/1.png", "cat"), ("z.png", "dog")], {}, "download them first"),
    "a label that is none": ([HEADER, ("0.png", "9" * 5000), ("1.png", "1")], {}, "has 5,000 letters"),
    "no rows": ([HEADER], {}, "has no rows"),
    "a missing part": ([HEADER, ("0.png", "cat")], {"test": "test.csv"}, "is not a table in"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_table_is_one_sentence_with_the_way_out(kind, tmp_path):
    rows, options, message = WRONG[kind]
    write_images(tmp_path)
    with pytest.raises(UserError) as caught:
        open_part(write_table(tmp_path / "labels.csv", rows), "test", **options)
    assert message in str(caught.value) and caught.value.status == ExitCode.DATA


def test_several_tables_and_unknown_test_classes_are_errors(tmp_path):
    write_images(tmp_path)
    write_table(tmp_path / "train.csv", [HEADER, ("0.png", "cat"), ("1.png", "dog")])
    write_table(tmp_path / "submission.csv", [HEADER, ("2.png", "bird")])
    with pytest.raises(UserError, match=r"several tables.*add data.test=TABLE.*data.path=.*train.csv"):
        open_part(tmp_path)
    with pytest.raises(UserError, match=r"classes that train.csv does not have: bird"):
        open_part(tmp_path, "test", test="submission.csv")
