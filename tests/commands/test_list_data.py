"""data: the table of data sets, their sources, and errors in a folder."""

import os
import re
from dataclasses import replace

import pytest

from helpers.image_files import BAD_FILES
from helpers.images import write_class_folders, write_parquet
from helpers.overrides import DATA_ROWS
from vitrun.commands import list_data
from vitrun.config import resolve
from vitrun.data.sources import local_files
from vitrun.data.sources.messages import typed_override
from vitrun.data.sources.registry import open_source
from vitrun.data.sources.vtab.originals import ARCHIVES
from vitrun.errors import ExitCode, UserError
from vitrun.papers import vtab_tasks
from vitrun.recipes import tables
from vitrun.runtime.console import Screen

FROM_FILES = [name for name, row in DATA_ROWS.items() if row["source"] == "files"]


def describe(capsys, *overrides: str) -> str:
    """Return the output of ``vitrun data``."""
    list_data.execute(resolve.resolve_recipe("data", [*overrides]), Screen())
    return capsys.readouterr().out


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_set_on_the_hub_is_pinned_to_a_commit(name):
    row = DATA_ROWS[name]
    assert bool(row["hub"]) == bool(row["revision"]) and re.fullmatch(r"[0-9a-f]{40}", row["revision"] or "0" * 40)
    assert row["home"] or name in ("folder", "parquet"), "every set names its source"


def test_the_table_fits_100_columns_and_has_a_row_for_every_set(capsys):
    lines = describe(capsys).splitlines()
    assert max(map(len, lines[: len(FROM_FILES)])) <= 100
    assert set(FROM_FILES) | {"shapes", "digits"} <= {line.split("|")[1].strip() for line in lines if "|" in line}
    pets = next(line for line in describe(capsys, "pets").splitlines() if line.startswith("| pets"))
    assert all(part in pets for part in ("37", "3,680", "3,669", "timm/oxford-iiit-pet@10b6", "CC BY-SA", "Pets"))


def test_a_name_shows_its_row_and_where_it_comes_from(capsys):
    output = describe(capsys, "pets")
    assert "https://www.robots.ox.ac.uk/~vgg/data/pets/" in output and "cifar" not in output and "vtab" not in output
    assert "https://github.com/hendrycks/imagenet-r" in describe(capsys, "imagenet_r"), "also if it needs a path"
    output = describe(capsys, "vtab")
    assert output.count("| vtab/") == 19 and "cifar10 " not in output
    licences = {
        line.split("|")[1].strip(): line.split("|")[6].strip() for line in output.splitlines() if "vtab/" in line
    }
    assert licences["vtab/pets"] == "CC BY-SA" and licences["vtab/kitti_dist"] == "gated" and all(licences.values())


WRONG = [
    (["peets"], "Unknown data set 'peets'. Did you mean pets"),
    (["cifar10", "pets"], "cifar10 and pets: name one data set"),
    (["data.path=/"], "name it first"),
    (["cifar10", "data.crop=none"], "add data.path=FOLDER"),
    (["cifar10", "data.pth=/"], "Did you mean data.path?"),
    (["vtab", "data.path=/"], "data.path is an option of one task"),
    (["vtab", "data.protocol=vpt"], "data.protocol is an option of one task"),
    (["vtab", "data.name=vtab/caltech101"], "add data.root=FOLDER"),
    (["vtab/pets", "data.train=train800"], "add data.path=FOLDER"),
]


@pytest.mark.parametrize("overrides, sentence", WRONG, ids=[" ".join(overrides) for overrides, _ in WRONG])
def test_a_wrong_argument_of_data_is_refused_in_one_sentence(overrides, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        resolve.resolve_recipe("data", overrides)
    assert error.value.status == ExitCode.COMMAND and "\n" not in str(error.value)


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
    output = describe(capsys, "folder", f"data.path={shared / 'data' / name}")
    assert all(fact in output for fact in facts), output
    row = tables.load_data_row("parquet", path=shared / "data" / name, image="img" if name == "cifar10" else "image")
    assert open_source(row, "test").fingerprint in output, "as a run would record it"


def test_class_folders_are_described(tmp_path, capsys):
    write_class_folders(tmp_path / "train", ["cat", "dog"], count=3)
    write_class_folders(tmp_path / "val", ["cat", "dog"], count=2)
    output = describe(capsys, "folder", f"data.path={tmp_path}")
    assert (
        "| train | 6      | 2       | 3 " in output and "| test  | 4      | 2       | 2 " in output and "PNG" in output
    )
    assert f"data=folder data.path={tmp_path}" in output


@pytest.mark.parametrize("what", ["empty", "a web page", "a bomb"])
def test_a_bad_image_is_described_as_any_command_would(what, tmp_path, capsys):
    write_class_folders(tmp_path, ["cat", "dog"])
    (tmp_path / "cat" / "1.png").write_bytes(BAD_FILES[what][0])
    with pytest.raises(UserError) as error:
        describe(capsys, "folder", f"data.path={tmp_path}")
    with pytest.raises(UserError, match="cat/1.png is not a readable image") as expected:
        local_files.open_path(tables.load_data_row("folder", path=tmp_path, train=None), "test").decode(1)
    assert str(error.value) == str(expected.value) and error.value.status == ExitCode.DATA


def test_a_set_of_the_table_is_described_as_its_row_reads_it(tmp_path, capsys):
    write_class_folders(tmp_path / "train", ["cat", "dog"], count=3)
    write_class_folders(tmp_path / "test", ["cat", "dog"], count=2)
    with pytest.raises(UserError, match="3,680 train images as published, but its source has 6") as error:
        describe(capsys, "pets", f"data.path={tmp_path}")
    assert error.value.status == ExitCode.DATA
    sizes = ["data.train_images=6", "data.test_images=4", "data.classes=2"]
    output = describe(capsys, "pets", f"data.path={tmp_path}", *sizes)
    assert "| train | 6      | 2       | 3 " in output and "To use it" not in output
    assert "| train | 1,297  | 10 " in describe(capsys, "digits", "data.test_images=500") and "pixels" not in output


def test_images_without_labels_are_counted(tmp_path, capsys):
    for part, labels in {"train": [0, -1], "test": [-1, -1]}.items():
        write_parquet(tmp_path / f"{part}.parquet", label=labels)
    output = describe(capsys, "parquet", f"data.path={tmp_path}")
    assert "train has 1 of 2 images without a label (-1)" in output and "no test images" not in output
    assert "test has 2 of 2 images without a label (-1)" in output


COLUMNS = {
    "image=lists": ({"image": [[1, 2], [3]]}, "holds list<.* instead of images: save each"),
    "label=lists": ({"label": [[0], [1]]}, "holds list<.*: make it a whole number"),
    "label=fractions": ({"label": [0.5, 1.0]}, "holds numbers such as 0.5"),
    "label=empty": ({"label": [0, None]}, r"is empty in 1 of 2 rows: remove them\."),
    "label=empty, one more": ({"label": [0, None], "kind": [0, 1]}, "remove them or add data.label=kind"),
}


@pytest.mark.parametrize("columns, message", COLUMNS.values(), ids=[*COLUMNS])
def test_a_column_that_cannot_be_read_is_refused_as_by_training(columns, message, tmp_path, capsys):
    write_parquet(tmp_path / "train.parquet", **columns)
    with pytest.raises(UserError, match=message) as error:
        describe(capsys, "parquet", f"data.path={tmp_path}")
    with pytest.raises(UserError) as expected:
        open_source(tables.load_data_row("parquet", path=tmp_path), "train")
    assert str(error.value) == str(expected.value) and "COLUMN" not in str(error.value)


def test_labels_that_are_whole_floats_are_described(tmp_path, capsys):
    write_parquet(tmp_path / "train.parquet", label=[0.0, 1.0])
    assert "data.label=label" in describe(capsys, "parquet", f"data.path={tmp_path}")


def test_a_file_in_place_of_a_folder_is_said_to_be_one(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder") as error:
        describe(capsys, "folder", f"data.path={tmp_path / 'train.csv'}")
    assert (error.value.status, error.value.option) == (ExitCode.DATA, "data.path")


@pytest.mark.parametrize("name", ["table", "captions", "coco"])
def test_a_pipe_in_place_of_a_table_is_refused_and_not_waited_for(name, tmp_path, capsys):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(UserError, match="is neither a file nor a folder") as error:
        describe(capsys, name, f"data.path={tmp_path / 'a.csv'}")
    assert error.value.status == ExitCode.DATA


def test_a_missing_folder_is_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="there is no folder") as error:
        describe(capsys, "folder", f"data.path={tmp_path / 'nowhere'}")
    assert error.value.status == ExitCode.DATA


def test_the_suggested_overrides_read_the_folder_as_the_summary_did(tmp_path, capsys):
    for part in ("mine", "yours"):
        write_class_folders(tmp_path / part, ["cat", "dog"], 3)
    (tmp_path / "mine" / "notes.txt").write_text("")
    overrides = [f"data.path={tmp_path}", "data.train=mine", "data.test=yours", "data.exif=false"]
    output = describe(capsys, "folder", *overrides)
    assert f"To use it: data=folder {' '.join(overrides)}" in output and "| train | 6      | 2 " in output
    assert "left out in mine: files that are not images 1 (notes.txt)" in output


@pytest.mark.parametrize("name", ["table", "captions"])
def test_a_set_with_a_table_ends_with_the_overrides_that_read_it(name, tmp_path, capsys):
    write_class_folders(tmp_path, ["cat", "dog"], 3)
    rows = [f"{path.parent.name}/{path.name},a {path.parent.name}" for path in sorted(tmp_path.rglob("*.png"))]
    (tmp_path / "a.csv").write_text("\n".join(["image,label,text", *(f"{row},x" for row in rows)]), encoding="utf-8")
    overrides = [f"data.path={tmp_path / 'a.csv'}", "data.test_share=0.4"]
    assert f"To use it: data={name} {' '.join(overrides)}" in describe(capsys, name, *overrides)


def test_a_broken_link_is_named(tmp_path, capsys):
    write_class_folders(tmp_path, ["cat", "dog"], 3)
    (tmp_path / "cat" / "4.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(UserError, match="cat/4.jpg cannot be read: .*Restore the file") as error:
        describe(capsys, "folder", f"data.path={tmp_path}")
    assert error.value.status == ExitCode.DATA


OWN = ("folder", "parquet", "shards", "jft300m")  # rows for a user's own images
NAMES = [name for name, row in DATA_ROWS.items() if row["source"] in ("files", "shards") and name not in OWN]


@pytest.mark.parametrize("name", NAMES)
def test_a_published_set_names_its_source_and_whether_it_needs_an_account_and_has_a_revision(name, capsys):
    row = DATA_ROWS[name]
    assert re.search(r"https://.* account .*needed", row["home"]) and row["home"] in describe(capsys, name)
    assert (row["licence"] == "gated") == ("no account" not in row["home"])
    assert ("huggingface.co" in row["home"]) == ("no revision is pinned" in row["home"])
    assert not row.get("hub") or row["hub"] in describe(capsys, name).splitlines()[-1]


@pytest.mark.parametrize("task", vtab_tasks.TASKS)
def test_a_task_of_vtab_shows_its_layout_its_source_and_whether_an_account_is_needed(task, capsys):
    published = ARCHIVES[vtab_tasks.TASKS[task].builder]
    output = describe(capsys, f"vtab/{task}")
    assert published.layout in output and f"{published.page} ({published.account})" in output
    assert "needed" in published.account


def test_every_unreadable_image_is_listed_and_counted(tmp_path, capsys):
    folder = write_class_folders(tmp_path / "photos", ["cat", "dog"], 30)
    for number in range(25):
        (folder / "cat" / f"{number}.png").write_bytes(b"<html>")
    (folder / "dog" / "bad.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"^\d+ train and \d+ test images cannot be read: .*web page") as error:
        describe(capsys, "folder", f"data.path={folder}")
    assert error.value.status == ExitCode.DATA and sum(map(int, re.findall(r"(\d+) t", str(error.value)))) == 26
    shown = capsys.readouterr().out
    assert shown.count("is not a readable image") + int(re.search(r"and (\d+) more", shown)[1]) == 26
    assert "| train" in shown and len(shown.splitlines()) < 40


def test_messages_name_a_set_of_ones_own_as_it_was_typed(tmp_path):
    folder = write_class_folders(tmp_path / "photos", ["cat", "dog"])
    for name in ("folder", "parquet"):
        row = tables.load_data_row(name, path=folder)
        assert typed_override(row) == f"data={name}"
        assert typed_override(replace(row, name="photos")) == f"data.path={folder}"
    assert typed_override(tables.load_data_row("cifar10", path=folder)) == "data=cifar10"
    hub = tables.load_data_row("parquet", hub="me/mine")
    assert typed_override(replace(hub, name="mine")) == "data.hub=me/mine"
