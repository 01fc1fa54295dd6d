"""Images whose labels are not read: they need none, and the same image is found in another file."""

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from helpers.images import make_png
from helpers.tars import make_sample, write_tar
from vitrun import data
from vitrun.config import resolve
from vitrun.data.image_hashes import find_known, hash_images
from vitrun.errors import ExitCode, UserError

TEACHER = "teacher=timm:vit_tiny_patch16_224.augreg_in21k"


def open_unlabelled(*overrides: str) -> data.Split:
    """Open the unlabelled images of a recipe."""
    return data.open_unlabelled(resolve.resolve_recipe("pretrain", [TEACHER, *overrides]).unlabelled)


def write_images(folder, numbers) -> None:
    """Write images of these numbers into a folder, without folders of classes."""
    folder.mkdir(parents=True)
    for number in numbers:
        (folder / f"{number}.png").write_bytes(make_png(number))


@pytest.mark.parametrize("inside", ["", "train", "Training/deep/er", "one class"])
def test_a_folder_of_images_needs_no_folders_of_classes(tmp_path, inside):
    write_images(tmp_path / "more" / inside, range(3))
    if inside == "train":
        write_images(tmp_path / "more" / "test", [7])
    split = open_unlabelled("unlabelled=folder", f"unlabelled.path={tmp_path / 'more'}")
    assert len(split) == 3 and (split.labels == -1).all() and split.classes == ()


def test_tables_need_no_column_of_labels_and_a_wrong_one_is_not_read(tmp_path):
    images = pyarrow.array([make_png(n) for n in range(3)])
    for name, more in (("without", {}), ("with", {"label": [0.5, None, -3]})):
        (tmp_path / name).mkdir()
        table = pyarrow.table({"image": images, **more})
        pyarrow.parquet.write_table(table, tmp_path / name / "train-00000-of-00001.parquet")
        split = open_unlabelled("unlabelled=parquet", f"unlabelled.path={tmp_path / name}")
        assert len(split) == 3 and (split.labels == -1).all()


def test_shards_need_no_labels_and_no_number_of_classes(tmp_path):
    files = [file for number in range(4) for file in make_sample(number) if not file[0].endswith("cls")]
    write_tar(tmp_path / "more-0.tar", files)
    split = open_unlabelled("unlabelled=shards", f"unlabelled.path={tmp_path}", "unlabelled.train=more-0.tar")
    assert len(split) == 4 and (split.labels == -1).all()


def test_an_image_is_found_again_by_its_file_and_by_its_pixels(tmp_path):
    write_images(tmp_path / "one", range(4))
    (tmp_path / "other").mkdir()
    Image.open(tmp_path / "one" / "2.png").save(tmp_path / "other" / "renamed.bmp")
    (tmp_path / "other" / "large.png").write_bytes(make_png(9))
    splits = [open_unlabelled("unlabelled=folder", f"unlabelled.path={tmp_path / name}") for name in ("one", "other")]
    one, other = map(hash_images, splits)
    assert find_known(one, other).tolist() == [False, False, True, False]
    assert not find_known(np.zeros((2, 2), np.int64), np.zeros((1, 2), np.int64)).any()  # images that cannot be read


def test_a_folder_without_images_and_a_part_that_is_not_there_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    for more, option in (((), "unlabelled.path"), (("unlabelled.train=x",), "unlabelled.train")):
        with pytest.raises(UserError, match=f"^{option}=") as caught:
            open_unlabelled("unlabelled=folder", f"unlabelled.path={tmp_path / 'empty'}", *more)
        assert (caught.value.status, caught.value.option) == (ExitCode.DATA, option)
