"""The table of data sets is sound and readable, and every wrong folder is told what is wrong with it."""

import re

import pytest
from test_decode import BAD
from test_eval_sets import photographs

from vitrun import choices, start
from vitrun.data import files, table
from vitrun.data.splits import BadImage
from vitrun.mistakes import Exit, Mistake
from vitrun.screen import Screen

ROWS = {name: choices.read_row("data", name) for name in choices.group_files("data")}
FROM_FILES = [name for name, row in ROWS.items() if row["source"] == "files"]


def shown(capsys, *words: str) -> str:
    """What ``vitrun data`` prints."""
    table.main(start.load("data", [*words]), Screen())
    return capsys.readouterr().out


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_set_on_the_hub_is_pinned_to_a_commit(name):
    row = ROWS[name]
    assert bool(row["hub"]) == bool(row["revision"]) and re.fullmatch(r"[0-9a-f]{40}", row["revision"] or "0" * 40)
    assert row["home"] or name in ("folder", "parquet"), "every set says where it comes from"


def test_the_table_fits_a_screen_and_has_a_row_for_every_set(capsys):
    lines = shown(capsys).splitlines()
    assert max(map(len, lines[: len(FROM_FILES)])) <= 120
    assert set(FROM_FILES) | {"shapes", "digits"} <= {line.split("|")[1].strip() for line in lines if "|" in line}
    pets = next(line for line in lines if line.startswith("| pets"))
    assert all(part in pets for part in ("37", "3,680", "3,669", "timm/oxford-iiit-pet@10b6", "CC BY-SA", "Pets"))


def test_a_name_shows_its_row_and_where_it_comes_from(capsys):
    said = shown(capsys, "pets")
    assert "https://www.robots.ox.ac.uk/~vgg/data/pets/" in said and "cifar" not in said and "vtab" not in said
    assert "https://github.com/hendrycks/imagenet-r" in shown(capsys, "imagenet_r"), "also where it needs a path"
    said = shown(capsys, "vtab")
    assert said.count("| vtab/") == 19 and "cifar10 " not in said
    licences = {line.split("|")[1].strip(): line.split("|")[6].strip() for line in said.splitlines() if "vtab/" in line}
    assert licences["vtab/pets"] == "CC BY-SA" and licences["vtab/kitti_dist"] == "gated" and all(licences.values())


WRONG = [
    (["peets"], "No data set 'peets'. Did you mean pets"),
    (["cifar10", "pets"], "cifar10 and pets: name one data set"),
    (["data.path=/"], "name it first"),
    (["cifar10", "data.crop=none"], "add data.path=FOLDER"),
    (["cifar10", "data.pth=/"], "Did you mean data.path?"),
    (["vtab", "data.path=/"], "data.path is an option of one task"),
    (["vtab", "data.protocol=vpt"], "data.protocol is an option of one task"),
    (["vtab", "data.name=vtab/caltech101"], "add data.root=FOLDER"),
    (["vtab/pets", "data.train=train800"], "add data.path=FOLDER"),
]


@pytest.mark.parametrize("words, sentence", WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_wrong_word_after_data_is_told_in_a_sentence(words, sentence):
    with pytest.raises(Mistake, match=re.escape(sentence)) as error:
        start.load("data", words)
    assert error.value.status == Exit.COMMAND and "\n" not in str(error.value)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name, facts",
    [
        ("cifar10", ["10,000 | 10      | 1000", "50,000 | 10      | 5000", "JPEG", "| 32    | 32", "data.image=img"]),
        ("caltech101", ["3,060  | 102     | 30 ", "119-1221 | 102-1280", "105-3481 | 103-2955", "data.label=label"]),
        ("imagenet_real_sample", ["| test  | 500    | 10 of 1,000 | 50 ", "| 224   | 224 "]),
    ],
)
def test_a_copy_in_the_hubs_layout_is_described(name, facts, shared, capsys):
    said = shown(capsys, "folder", f"data.path={shared / 'data' / name}")
    assert all(fact in said for fact in facts), said
    row = choices.data_row("parquet", path=shared / "data" / name, image="img" if name == "cifar10" else "image")
    assert files.read(row, "test").fingerprint in said, "as a run would record it"


def test_class_folders_are_described(tmp_path, capsys):
    photographs(tmp_path / "train", ["cat", "dog"], each=3)
    photographs(tmp_path / "val", ["cat", "dog"], each=2)
    said = shown(capsys, "folder", f"data.path={tmp_path}")
    assert "| train | 6      | 2       | 3 " in said and "| test  | 4      | 2       | 2 " in said and "PNG" in said
    assert f"data=folder data.path={tmp_path}" in said


@pytest.mark.parametrize("what", ["empty", "a web page", "a bomb"])
def test_a_bad_image_is_described_as_any_verb_would(what, tmp_path, capsys):
    photographs(tmp_path, ["cat", "dog"])
    (tmp_path / "cat" / "1.png").write_bytes(BAD[what][0])
    with pytest.raises(Mistake) as error:
        shown(capsys, "folder", f"data.path={tmp_path}")
    with pytest.raises(Mistake, match="cat/1.png is no readable image") as expected:
        files.source(choices.data_row("folder", path=tmp_path, train=None), "test").decode(1)
    assert str(error.value) == str(expected.value) and error.value.status == Exit.DATA


def test_a_set_of_the_table_is_described_as_its_row_reads_it(tmp_path, capsys):
    photographs(tmp_path / "train", ["cat", "dog"], each=3)
    photographs(tmp_path / "test", ["cat", "dog"], each=2)
    with pytest.raises(Mistake, match="3,680 train images as published, but its source has 6") as error:
        shown(capsys, "pets", f"data.path={tmp_path}")
    assert error.value.status == Exit.DATA
    sizes = ["data.train_images=6", "data.test_images=4", "data.classes=2"]
    said = shown(capsys, "pets", f"data.path={tmp_path}", *sizes)
    assert "| train | 6      | 2       | 3 " in said and "To use it" not in said
    assert "| train | 1,297  | 10 " in shown(capsys, "digits", "data.test_images=500") and "pixels" not in said


def test_a_folder_that_is_not_there_cannot_be_described(tmp_path, capsys):
    with pytest.raises(Mistake, match="there is no folder") as error:
        shown(capsys, "folder", f"data.path={tmp_path / 'nowhere'}")
    assert error.value.status == Exit.DATA


def test_folders_called_as_parts_are_no_classes_and_their_words_read_them(tmp_path, capsys):
    for part in ("Train", "Testing"):
        photographs(tmp_path / part, ["cat", "dog"], 3)
    with pytest.raises(Mistake, match="which are parts and no classes: add data.test=Testing data.train=Train"):
        shown(capsys, "folder", f"data.path={tmp_path}")
    words = [f"data.path={tmp_path}", "data.train=Train", "data.test=Testing"]
    said = shown(capsys, "folder", *words)
    assert f"To use it: data=folder {' '.join(words)}" in said and "| train | 6      | 2 " in said


def test_one_folder_says_which_of_its_images_are_for_testing(tmp_path):
    photographs(tmp_path, ["cat", "dog"], 30)
    split = files.source(choices.data_row("folder", path=tmp_path), "test")
    assert (
        0 < len(split) < 15
        and split.where == f"{tmp_path}, of whose images a tenth, by a hash of their names, is for testing"
    )


def test_a_photograph_of_a_kind_that_cannot_be_read_is_named_and_one_of_another_name_read(tmp_path):
    photographs(tmp_path, ["cat", "dog"])
    jpeg = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "2.JFIF").write_bytes(jpeg)
    (tmp_path / "cat" / "3.heic").write_bytes(b"\0\0\0\x18ftypheic")
    split = files.source(choices.data_row("folder", path=tmp_path, train=None), "test")
    said = {key: tried(split, row) for row, key in enumerate(split.keys)}
    assert "cat/3.heic is no readable image" in said["cat/3.heic"]
    assert "cat/2.JFIF" in said and [key for key, sentence in said.items() if sentence] == ["cat/3.heic"]


def test_a_link_that_leads_nowhere_is_named(tmp_path, capsys):
    photographs(tmp_path, ["cat", "dog"], 3)
    (tmp_path / "cat" / "4.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(Mistake, match="cat/4.jpg cannot be read: .*Bring it back, or remove what names it") as error:
        shown(capsys, "folder", f"data.path={tmp_path}")
    assert error.value.status == Exit.DATA


def tried(split, row: int) -> str:
    """What is wrong with an image."""
    try:
        split.decode(row)
    except BadImage as mistake:
        return str(mistake)
    return ""
