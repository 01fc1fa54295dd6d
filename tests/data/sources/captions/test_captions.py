"""Images with captions: tables, text files beside images, the Hub's layout, and images without a caption."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.images import make_png, write_parquet
from vitrun import data
from vitrun.data.captions import draw_captions
from vitrun.data.sources.captions import text_files
from vitrun.data.transforms.views import CropView
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables

TEXTS = [f"caption {n}" for n in range(10)]


def write_images(folder: Path, number: int = 10) -> list[str]:
    """Write images ``0.png`` and so on; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(number):
        (folder / f"{n}.png").write_bytes(make_png(n))
    return [f"{n}.png" for n in range(number)]


def write_table(file: Path, rows, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    """Write a CSV or TSV file."""
    with open(file, "w", newline="", encoding=encoding) as lines:
        csv.writer(lines, delimiter=delimiter).writerows(rows)
    return file


def open_part(path: Path, part: str = "test", **options) -> data.Split:
    """Return a part of images with captions."""
    return data.open_split(tables.load_data_row("captions", path=path, **options), part)


def pair_up(split: data.Split) -> dict[str, tuple[str, ...]]:
    """Return the captions of each image by the name of its file."""
    return {key.rpartition("/")[2]: split.read_captions(row) for row, key in enumerate(split.keys)}


@pytest.mark.parametrize(
    ("suffix", "delimiter", "header", "encoding"),
    [
        (".csv", ",", ("filepath", "title"), "utf-8"),
        (".csv", ";", ("Image", "Caption", "id"), "utf-8-sig"),
        (".csv", "|", ("image_name", " comment_number", " comment"), "utf-8"),  # Flickr30k of Kaggle
        (".tsv", "\t", ("file_name", "text"), "utf-16"),
    ],
)
def test_a_table_is_read_whatever_separates_its_columns(suffix, delimiter, header, encoding, tmp_path):
    names = write_images(tmp_path)
    places = (0, 1 if len(header) == 2 or header[1] == "Caption" else 2)
    rows = []
    for name, text in zip(names, TEXTS):
        row = [""] * len(header)
        row[places[0]], row[places[1]] = name, f" {text}ü"
        rows.append(row)
    file = write_table(tmp_path / f"all{suffix}", [header, *rows], delimiter, encoding)
    split = open_part(file, train=None)
    assert pair_up(split) == {name: (f"{text}ü",) for name, text in zip(names, TEXTS)}
    assert len([note for note in split.notes if "by its name" in note]) == 2, "guesses are named"
    train, test = open_part(file, "train"), open_part(file)
    assert (len(train), len(test)) == (9, 1) and not {*train.keys} & {*test.keys}


def test_what_is_in_quotes_is_one_column_and_quotes_that_do_not_fit_are_letters(tmp_path):
    write_images(tmp_path, 3)
    expected = {"0.png": ('a, b\nsecond "line"',), "1.png": ("c",), "2.png": ("d",)}
    rows = ('0.png,"a, b\nsecond ""line"""', "1.png,c,", "2.png,d,x")
    for header in ("filepath,title,note", '"filepath","title","a\nnote"', '\n\n"filepath",title,"a; note"'):
        for line_feed in ("\n", "\r\n"):
            text = "\n".join([header, *rows, ""]).replace("\n", line_feed)
            (tmp_path / "t.csv").write_bytes(text.encode())
            split = open_part(tmp_path / "t.csv", train=None)
            found = {name: tuple(text.replace("\r", "") for text in texts) for name, texts in pair_up(split).items()}
            assert found == expected, header
    for captions in (('"a" he said', "c", "d"), ('"a', "c", 'd"')):  # the second as one caption of three rows in a CSV
        lines = ["filepath\ttitle", *(f"{n}.png\t{text}" for n, text in enumerate(captions))]
        (tmp_path / "t.tsv").write_text("\n".join(lines))
        split = open_part(tmp_path / "t.tsv", train=None)
        assert pair_up(split) == {f"{n}.png": (text,) for n, text in enumerate(captions)}
        assert any("quotes in t.tsv are parts of the captions, as the row of line 2" in note for note in split.notes)


def test_rows_of_one_path_and_lists_are_captions_of_one_image(tmp_path):
    names = write_images(tmp_path / "images", 2)
    table = write_table(tmp_path / "t.csv", [["image", "caption"], [names[0], "a"], [names[1], "b"], [names[0], "c"]])
    expected = {names[0]: ("a", "c"), names[1]: ("b",)}
    assert pair_up(open_part(table, train=None, images=tmp_path / "images")) == expected
    lines = tmp_path / "t.jsonl"
    lines.write_text("\n".join(json.dumps({"file": name, "text": texts}) for name, texts in expected.items()))
    assert pair_up(open_part(lines, train=None, images=tmp_path / "images")) == expected
    coco = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "annotations": [{"image_id": i, "caption": text} for i, text in ((0, "a"), (1, "b"), (0, "c"))],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert pair_up(open_part(tmp_path / "coco.json", train=None, images=tmp_path / "images")) == expected
    sentences = [{"raw": "a"}, {"raw": "c"}]
    karpathy = {"images": [{"filename": name, "split": part, "sentences": sentences, "filepath": "images"}
                           for name, part in zip(names, ("restval", "test"))]}  # fmt: skip
    (tmp_path / "k.json").write_text(json.dumps(karpathy))
    assert pair_up(open_part(tmp_path / "k.json")) == {names[1]: ("a", "c")}
    for n, texts in enumerate(expected.values()):
        (tmp_path / f"images/{n}.txt").write_text("\n".join(texts))
    assert pair_up(open_part(tmp_path / "images", train=None)) == expected
    images = [{"bytes": make_png(n), "path": name} for n, name in enumerate(names)]
    write_parquet(tmp_path / "hub/test.parquet", image=images, caption=[*map(list, expected.values())])
    split = open_part(tmp_path / "hub")
    assert pair_up(split) == expected
    split = split.select(np.array([1]))
    assert pair_up(split) == {names[1]: ("b",)} and split.raw(0).shape == (3, 8, 8)


def test_a_table_of_one_split_is_divided_and_one_for_testing_is_not(tmp_path):
    images = [{"bytes": make_png(n), "path": f"{n}.png"} for n in range(10)]
    write_parquet(tmp_path / "one/train.parquet", image=images, caption=TEXTS, label=[0] * 10)
    for options in ({}, {"test": "train"}, {"train": "train", "test": "train"}):
        train, test = (open_part(tmp_path / "one", part, **options) for part in ("train", "test"))
        assert (len(train), len(test)) == (9, 1) and not {*train.keys} & {*test.keys}
        assert {*pair_up(train).values()} | {*pair_up(test).values()} == {(text,) for text in TEXTS}
    assert len(open_part(tmp_path / "one", train=None)) == 10
    write_parquet(tmp_path / "two/test.parquet", image=images, caption=TEXTS, label=[0] * 10)
    assert len(open_part(tmp_path / "two")) == 10
    with pytest.raises(UserError, match="has no split 'train'"):
        open_part(tmp_path / "two", "train")


def test_a_caption_is_drawn_for_each_step_and_all_are_tested(tmp_path):
    names = write_images(tmp_path)
    rows = [[name, f"{name} {n}"] for name in names for n in range(5)]
    split = open_part(write_table(tmp_path / "t.csv", [["image", "caption"], *rows]), train=None)
    view = CropView(8, "none", (1.0, 1.0), False, 0, True, [], "bilinear")
    batches = [*data.train_batches(split, view, 4, 7, range(10))]
    for batch in batches:
        keys = [split.keys[row] for row in batch.indices]
        assert all(text.startswith(f"{key} ") for key, (text,) in zip(keys, batch.captions))
    drawn = {text for batch in batches for (text,) in batch.captions}
    assert len(drawn) > 20, "another one in every epoch"
    again = next(iter(data.train_batches(split, view, 4, 7, range(9, 10))))
    assert again.captions == batches[9].captions, "a resumed run draws the same"
    assert draw_captions(split, 7, 3, np.array([5])) == draw_captions(split, 7, 3, np.arange(10))[5:6]


def test_images_without_a_usable_caption_count_as_bad_images(tmp_path):
    names = write_images(tmp_path)
    for name, text in zip(names, [b"a", b"", b"caf\xe9", None, *[b"b"] * 6]):
        if text is not None:
            (tmp_path / name).with_suffix(".txt").write_bytes(text)
    split = open_part(tmp_path, train=None)
    notes = " ".join(split.notes)
    for what, name in (("without a caption", names[3]), ("with an empty one", names[1]), ("not UTF-8", names[2])):
        assert f"1 of 10 images {what}: {name}" in notes or f"{what}: {name}" in notes, notes
    counted = []
    budget = data.BadImageBudget(split, 3, lambda key, message: counted.append(key))
    data.check_before_training(split, budget)
    assert sorted(counted) == [names[1], names[2], names[3]]
    with pytest.raises(UserError, match="bad_images") as error:
        data.check_before_training(split, data.BadImageBudget(split, 2, lambda *_: None))
    assert error.value.status == ExitCode.DATA
    assert len(data.drop_bad_images(split, lambda line: None)) == 7


def test_a_folder_in_place_of_a_text_is_no_caption_and_a_text_that_is_too_large_is_one_sentence(tmp_path, monkeypatch):
    first, second, *others = write_images(tmp_path, 4)
    (tmp_path / first).with_suffix(".txt").mkdir()
    for name in (second, *others):
        (tmp_path / name).with_suffix(".txt").write_text("a caption")
    assert f"without a caption: {first}" in " ".join(open_part(tmp_path, train=None).notes)
    monkeypatch.setattr(text_files, "MAX_TEXT", 3)
    with pytest.raises(UserError, match=r"txt has no captions that can be read") as error:
        open_part(tmp_path, train=None)
    assert error.value.status == ExitCode.DATA


@pytest.mark.parametrize("letter", ["\\ud800", "\\udce9"])
def test_letters_that_no_text_has_are_escaped_in_names_and_make_a_caption_unusable(tmp_path, letter):
    first, second, third = write_images(tmp_path, 3)
    lines = [(first, "a"), (second, f"a{letter}"), (third, "a"), (f"{letter}.png", "a")]
    (tmp_path / "t.jsonl").write_text("\n".join(f'{{"image": "{name}", "caption": "{text}"}}' for name, text in lines))
    split = open_part(tmp_path / "t.jsonl", train=None)
    assert sorted(split.unusable) == [split.keys.index(second), 3] and split.keys[3].isascii()
    assert split.captions_fingerprint


def test_an_image_that_is_not_there_is_reported_with_the_table_that_names_it(tmp_path):
    names = write_images(tmp_path, 2)
    rows = [["image", "caption"], *[[name, "a"] for name in (*names, "&s [*s]")]]
    split = open_part(write_table(tmp_path / "pairs.csv", rows), train=None)
    with pytest.raises(UserError, match=r"^&s \[\*s\] is not there\. .* entry of pairs\.csv"):
        split.load_encoded(split.keys.index("&s [*s]"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pairs.csv", "image,caption\n0.png,a\n,b\n\n,\n1.png,c\n"),
        ("pairs.jsonl", '{"image": "0.png", "caption": "a"}\n{"image": null, "caption": "b"}\n\n'),
        ("coco.json", '{"images": [{"id": 1, "file_name": "0.png"}, {"id": 2, "file_name": null}], '
                      '"annotations": [{"image_id": 1, "caption": "a"}]}'),
        ("k.json", '{"images": [{"filename": null, "split": "test", "sentences": []}, '
                   '{"filename": "0.png", "split": "test", "sentences": [{"raw": "a"}]}]}'),
    ],
)  # fmt: skip
def test_rows_that_name_no_image_are_left_out_and_counted(tmp_path, name, content):
    names = write_images(tmp_path, 2)
    (tmp_path / name).write_text(content)
    split = open_part(tmp_path / name, train=None)
    assert {*split.keys} <= {*names} and any(note.startswith("left out: 1 of ") for note in split.notes), split.notes


def wrong_tables(folder: Path) -> dict[str, tuple[Path, dict, str]]:
    """Return paths that cannot be read, with options, and a part of the sentence about each."""
    names = write_images(folder / "images", 2)
    rows = [[name, "text"] for name in names]
    (folder / "empty").mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / "two").mkdir(exist_ok=True)
        write_table(folder / "two" / name, [["image", "caption"], *rows])
    write_images(folder / "bare", 2)
    (folder / "x.json").write_text("[1, 2]")
    (folder / "x.xlsx").write_bytes(b"PK")
    texts = {
        "open": f'image,caption\n{names[0]},"a, b\n{names[1]},c\n',
        "comma": f"image,caption\n{names[0]},a, b\n{names[1]},c\n",
        "blank": "\n\n",
        "utf16": "image,caption\n".encode("utf-16-le").decode("latin-1"),
        "urls": "url,caption\nhttps://example.org/0.png,a\n",
        "latin": f"image,caption\n{names[0]},caf\xe9\n",
        "twice": f"image,caption,caption\n{names[0]},a,b\n",
    }
    for name, text in texts.items():
        (folder / f"images/{name}.csv").write_bytes(text.encode("latin-1"))
    (folder / "x.jsonl").write_text("[1]")
    (folder / "coco.json").write_text('{"images": [], "annotations": [{"image_id": 2, "caption": "a"}]}')
    (folder / "list.json").write_text('{"images": [{"id": 1, "file_name": ["0.png"]}], "annotations": []}')
    (folder / "list.jsonl").write_text('{"image": "0.png", "caption": [{"raw": "a"}]}')
    write_parquet(folder / "numbers/train.parquet")
    return {
        "no column of captions": (write_table(folder / "1.csv", [["image", "label"], *rows]), {}, "data.caption="),
        "two columns of captions": (
            write_table(folder / "2.csv", [["image", "caption", "text"], *[[*row, ""] for row in rows]]),
            {},
            "several columns",
        ),
        "a wrong name": (
            write_table(folder / "3.csv", [["image", "caption"], *rows]),
            {"caption": "capton"},
            "caption",
        ),
        "no files": (write_table(folder / "4.csv", [["image", "caption"], *rows]), {}, "data.images=FOLDER"),
        "no separator": (write_table(folder / "5.csv", [["image"], *rows]), {}, "data.separator="),
        "an empty folder": (folder / "empty", {}, "NAME.txt"),
        "several tables": (folder / "two", {}, "several tables"),
        "images alone": (folder / "bare", {}, "NAME.txt beside"),
        "other json": (folder / "x.json", {}, "not a table of captions"),
        "a quote that does not end": (folder / "images/open.csv", {}, "the row of line 2 has quotes that do not end"),
        "a comma without quotes": (folder / "images/comma.csv", {}, "line 2 has 3 columns, and the first line names 2"),
        "blank lines": (folder / "images/blank.csv", {}, "it is empty"),
        "UTF-16 without its mark": (folder / "images/utf16.csv", {}, "save it as UTF-8"),
        "URLs": (folder / "images/urls.csv", {"image": "url"}, "data=pairs"),
        "Latin-1": (folder / "images/latin.csv", {}, "a caption that is not UTF-8"),
        "two columns of one name": (folder / "images/twice.csv", {}, "2 columns named 'caption'"),
        "a list in a line": (folder / "x.jsonl", {}, "line 1 is not an object"),
        "a caption of no image": (folder / "coco.json", {}, "it lacks 2"),
        "a path that is a list": (folder / "list.json", {}, '["0.png"] stands where a text belongs'),
        "a caption that is an object": (folder / "list.jsonl", {}, "stands where a text belongs"),
        "a spreadsheet": (folder / "x.xlsx", {}, "must end in"),
        "a column of numbers": (folder / "numbers", {"caption": "label", "test": "train"}, "instead of captions"),
        "a missing part": (folder / "two", {"test": "c.csv"}, "neither a table nor a folder"),
    }


def test_a_wrong_table_is_one_sentence(tmp_path):
    for kind, (path, options, part) in wrong_tables(tmp_path).items():
        with pytest.raises(UserError) as error:
            open_part(path, **options)
        assert part in str(error.value) and len(str(error.value)) < 400, (kind, str(error.value))
        assert error.value.status == ExitCode.DATA, kind
