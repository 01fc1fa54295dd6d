"""Training and test images are different images of the same classes."""

import datasets
import pytest
from PIL import Image

from helpers.images import random_pil_images, write_part_folders
from vitrun import data
from vitrun.config import resolve
from vitrun.engine import inputs
from vitrun.errors import ExitCode, UserError

OVERRIDES = ["model=vit_nano8", "steps=2", "warmup=0", "batch=4"]


def write_table(
    place, split: str, labels: list[int], names: list[str] | None = None, seed: int = 0, size: int = 16
) -> None:
    """Write a parquet file of random images."""
    place.mkdir(exist_ok=True)
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    rows = {"image": random_pil_images(len(labels), seed, size), "label": labels}
    datasets.Dataset.from_dict(rows, features).to_parquet(place / f"{split}-00000-of-00001.parquet")


def parquet_overrides(place, *more: str) -> list[str]:
    return [*OVERRIDES, "data=parquet", f"data.path={place}", *more]


@pytest.mark.parametrize(
    "train, test, message",
    [
        (([0, 1, 2], None), ([0, 3], None), "1 class that the training images lack: 3. These have 3: 0, 1, 2"),
        (([0, 1], ["cat", "dog"]), ([0, 1], ["dog", "ant"]), "1 class that the training images lack: ant"),
    ],
)
def test_test_images_of_other_classes_are_refused_before_the_first_step(run_command, tmp_path, train, test, message):
    write_table(tmp_path / "set", "train", *train)
    write_table(tmp_path / "set", "test", *test, seed=1)
    with pytest.raises(UserError, match=message) as error:
        run_command("pretrain", *parquet_overrides(tmp_path / "set"))
    assert error.value.status == ExitCode.DATA


def test_test_classes_in_another_order_are_matched_by_name(tmp_path):
    write_table(tmp_path / "set", "train", [0, 1, 2], ["cat", "dog", "owl"])
    write_table(tmp_path / "set", "test", [0, 1, 1], ["owl", "cat"], seed=1)
    source = resolve.resolve_recipe("pretrain", parquet_overrides(tmp_path / "set")).data
    train, test = (data.open_split(source, part) for part in ("train", "test"))
    matched = inputs.match_test_classes(source, train, test)
    assert matched.classes == train.classes and matched.labels.tolist() == [2, 0, 0]


def test_test_images_need_not_be_of_all_classes(run_command, tmp_path):
    write_table(tmp_path / "set", "train", [0, 1, 2, 0])
    write_table(tmp_path / "set", "test", [1, 0], seed=1)
    run_command("pretrain", *parquet_overrides(tmp_path / "set"))


def test_testing_on_the_training_images_is_refused(run_command, tmp_path):
    write_table(tmp_path / "set", "train", [0, 1, 2, 0])
    write_part_folders(tmp_path / "all", {"train": 0})
    (tmp_path / "all" / "test").symlink_to(tmp_path / "all" / "train")
    folder = [*OVERRIDES, "data=folder", f"data.path={tmp_path / 'all'}"]
    for overrides in (parquet_overrides(tmp_path / "set", "data.test=train"), folder):
        with pytest.raises(UserError, match="The training and the test part are the same images"):
            run_command("pretrain", *overrides)


def test_replacing_an_image_changes_the_fingerprint(tmp_path):
    write_part_folders(tmp_path / "all", {"train": 0, "test": 1})
    write_table(tmp_path / "set", "train", [0, 1, 2, 0])
    write_table(tmp_path / "set", "test", [0, 1, 2, 0], seed=1)
    rows = (["data=folder", f"data.path={tmp_path / 'all'}"], ["data=parquet", f"data.path={tmp_path / 'set'}"])
    recipes = [resolve.resolve_recipe("pretrain", overrides).data for overrides in rows]
    before = [data.open_split(one, "train").fingerprint for one in recipes]
    assert before == [data.open_split(one, "train").fingerprint for one in recipes]
    Image.new("RGB", (20, 20)).save(tmp_path / "all/train/a/0.bmp")
    write_table(tmp_path / "set", "train", [0, 1, 2, 0], size=20)
    assert all(data.open_split(one, "train").fingerprint != old for one, old in zip(recipes, before))
