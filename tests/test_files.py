"""Files in folders and tables become the right split, and of a wrong folder it is said what is wrong with it."""

from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from test_eval_sets import photographs, picture

from vitrun import choices, data
from vitrun.data import files
from vitrun.data.decode import decode
from vitrun.mistakes import Exit, Mistake

IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def parquet(file: Path, **columns) -> None:
    """A parquet file, of two images where no others are given."""
    columns = {"image": [{"bytes": picture(n), "path": f"{n}.png"} for n in range(2)], "label": [0, 1]} | columns
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def archive(root: Path) -> None:
    (root / "images.tar.gz").write_bytes(b"packed")


def flat(root: Path) -> None:
    (root / "1.jpg").write_bytes(picture(1))


def classless(root: Path) -> None:
    photographs(root, ["cat", "dog"])
    (root / "bird").mkdir()


def untested(root: Path) -> None:
    photographs(root / "train", ["cat", "dog"])


def unlike(root: Path) -> None:
    untested(root)
    photographs(root / "test", ["cat", "bird"])


def other_files(root: Path) -> None:
    (root / "cat").mkdir()
    (root / "cat" / "1.psd").write_bytes(b"?")


# kind: what is in the folder, the part of it that is asked for, and parts of the sentence
WRONG = {
    "empty": (lambda root: None, "train", ["has no class folders with images: it has nothing", "CLASS/*.jpg"]),
    "images without class folders": (flat, "train", ["its images lie in it without one", "Sort them"]),
    "an archive": (archive, "train", ["it has images.tar.gz. Unpack that first"]),
    "no format we read": (other_files, "train", ["it has cat", "images end in .bmp"]),
    "one level too high": (
        lambda root: untested(root / "pets"),
        "train",
        ["one class only", "data.path=", "/pets is meant"],
    ),
    "a class without images": (classless, "train", ["class folders without an image: bird"]),
    "no test folder": (untested, "test", ["has a folder train, but none of the test images", "test or val"]),
    "no training folder": (
        lambda root: photographs(root / "val", ["cat", "dog"]),
        "train",
        ["has a folder val, but none of the train images", "called train"],
    ),
    "classes to test that were not trained": (unlike, "test", ["has classes that", "has not: bird"]),
    "a split of another name": (
        lambda root: parquet(root / "validation-00000-of-00001.parquet"),
        "test",
        ["has no split 'test', but validation", "data.test=NAME"],
    ),
    "half a download": (
        lambda root: parquet(root / "data" / "train-00000-of-00002.parquet"),
        "train",
        ["has 1 files as train-00000-of-00002.parquet", "speak of 2", "fetch what is missing"],
    ),
    "two versions in one": (
        lambda root: [parquet(root / f"train-00000-of-0000{n}.parquet") for n in (1, 2)],
        "train",
        ["has 2 files as", "speak of 1 and 2", "keep other versions elsewhere"],
    ),
    "two configurations in one": (
        lambda root: [parquet(root / name / "train.parquet") for name in ("fine", "coarse")],
        "train",
        ["has 2 files as train.parquet", "speak of 1", "keep other versions elsewhere"],
    ),
    "other columns": (
        lambda root: parquet(root / "train.parquet", fine_label=[0, 1], label=["cat", "dog"]),
        "train",
        ["the column 'label' should hold a whole number an image, but it holds", "string", "data.label=COLUMN"],
    ),
    "labels left out": (
        lambda root: parquet(root / "train.parquet", label=[0, None]),
        "train",
        ["but it holds 1 empty places"],
    ),
    "no images in the column": (
        lambda root: parquet(root / "train.parquet", image=[1, 2]),
        "train",
        ["the column 'image' holds no images", "data.image=COLUMN"],
    ),
    "no such column": (
        lambda root: pyarrow.parquet.write_table(pyarrow.table({"img": [1], "label": [0]}), root / "train.parquet"),
        "train",
        ["no column 'image' among img, label"],
    ),
    "images that were left elsewhere": (
        lambda root: parquet(root / "train.parquet", image=[{"bytes": None, "path": "/nowhere/1.jpg"}] * 2),
        "train",
        ["holds no bytes of this image", "/nowhere/1.jpg"],
    ),
    "identities for labels": (
        lambda root: parquet(root / "train.parquet", label=[0, 2**40]),
        "train",
        ["the column 'label' goes up to 1099511627776, which is no class", "data.label=COLUMN"],
    ),
    "a table without rows": (
        lambda root: parquet(root / "train.parquet", image=pyarrow.array([], IMAGE), label=pyarrow.array([], "int64")),
        "train",
        ["its split 'train' has no images"],
    ),
    "test images that have no classes": (
        lambda root: [photographs(root / "train", ["cat", "dog"]), (root / "test").mkdir(), flat(root / "test")],
        "test",
        ["its images lie in it without one", "Sort them"],
    ),
    "no parquet at all": (
        lambda root: (root / "train.parquet").write_text("<html>"),
        "train",
        ["its parquet files cannot be read"],
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_folder_is_told_what_is_wrong_with_it(kind, tmp_path):
    make, part, expected = WRONG[kind]
    make(tmp_path)
    with pytest.raises(Mistake) as error:
        data.open_split(choices.data_row("folder", path=tmp_path), part)
    sentence = str(error.value)
    assert error.value.status == Exit.DATA and "\n" not in sentence
    assert all(part in sentence for part in expected), sentence


def test_a_source_of_another_size_than_published_says_both_numbers(tmp_path):
    parquet(tmp_path / "test-00000-of-00001.parquet")
    pets = choices.data_row("pets", path=tmp_path)
    with pytest.raises(
        Mistake, match=r"3,669 test images as published, but its source has 2: .*data.test_images=2 "
    ) as error:
        data.open_split(pets, "test")
    assert error.value.status == Exit.DATA
    with pytest.raises(Mistake, match="has 37 classes, but its source has 2"):
        data.open_split(replace(pets, test_images=2), "test")
    assert len(data.open_split(replace(pets, test_images=None, classes=2), "test")) == 2


def test_what_an_operating_system_leaves_behind_is_no_class_and_no_image(tmp_path):
    photographs(tmp_path, ["cat", "dog"])
    for name in (".ipynb_checkpoints", "__MACOSX"):
        photographs(tmp_path, [name])
    (tmp_path / "cat" / "._0.png").write_bytes(b"not an image")
    split = files.source(choices.data_row("folder", path=tmp_path, train=None), "test")
    assert split.classes == ("cat", "dog") and split.keys == ["cat/0.png", "dog/0.png"]


def test_a_new_image_moves_no_other_between_training_and_testing(tmp_path):
    photographs(tmp_path, ["cat", "dog"], each=30)
    row = choices.data_row("folder", path=tmp_path)
    before = {part: set(files.read(row, part).keys) for part in ("train", "test")}
    (tmp_path / "cat" / "new.png").write_bytes(picture(0))
    after = {part: set(files.read(row, part).keys) - {"cat/new.png"} for part in ("train", "test")}
    assert before == after and before["test"] and not before["train"] & before["test"]


def test_a_class_without_test_images_keeps_its_label(tmp_path):
    photographs(tmp_path / "train", ["cat", "dog", "owl"])
    photographs(tmp_path / "test", ["owl", "cat"])
    split = data.open_split(choices.data_row("folder", path=tmp_path), "test")
    assert split.classes == ("cat", "dog", "owl") and split.labels.tolist() == [0, 2]


def test_imagenets_own_test_images_which_have_no_classes_are_passed_over(tmp_path):
    photographs(tmp_path / "train", ["cat", "dog"])
    photographs(tmp_path / "val", ["cat", "dog"])
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "ILSVRC2012_test_00000001.png").write_bytes(picture(0))
    assert len(data.open_split(choices.data_row("folder", path=tmp_path), "test")) == 2


def test_links_to_folders_are_followed_but_not_back(tmp_path):
    photographs(tmp_path / "elsewhere", ["more"], each=3)
    photographs(tmp_path / "all", ["cat", "dog"])
    (tmp_path / "all" / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "all" / "cat" / "back").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "cat" / "itself").symlink_to(tmp_path / "all" / "cat" / "itself")
    split = files.source(choices.data_row("folder", path=tmp_path / "all", train=None), "test")
    assert split.keys == ["cat/0.png", "cat/more/0.png", "cat/more/1.png", "cat/more/2.png", "dog/0.png"]


def test_an_image_that_a_table_only_names_is_read_from_beside_it_and_one_that_it_leaves_out_is_bad(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(picture(1))
    cells = [{"bytes": None, "path": "photos/1.png"}, {"bytes": None, "path": None}, None]
    parquet(tmp_path / "test.parquet", image=pyarrow.array(cells, IMAGE), label=[0, 1, 1])
    split = data.open_split(choices.data_row("parquet", path=tmp_path), "test")
    assert split.decode(0).shape == decode(picture(1)).shape
    assert list(data.bad_images(split)) == [1, 2]
    assert "00000001/ is no readable image: its place in the table is empty" in str(data.bad_images(split)[1])
