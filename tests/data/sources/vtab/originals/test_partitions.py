"""Partitions that come from lists, from videos, or from a draw."""

import shutil

import numpy as np

from helpers import vtab_originals as originals
from helpers.vtab_files import write_file
from helpers.vtab_structured import KITTI_FRAMES
from vitrun.data.sources.vtab.originals import SPLIT_READERS, kitti
from vitrun.data.sources.vtab.originals.archive import Status


def test_caltech_without_a_list_is_drawn_here_and_reported_as_drawn(tmp_path):
    originals.caltech101(tmp_path)
    for split in ("train", "test"):
        (tmp_path / f"caltech101_{split}.txt").unlink()
    folder = tmp_path / "101_ObjectCategories"
    for name in range(99):
        for n in range(31):
            (folder / f"thing_{name:02d}" / f"image_{n:04d}.jpg").touch()
    write_file(folder / "BACKGROUND_Google" / "tmp", "")  # a file that is no image, as the published archive has one
    train, test = (SPLIT_READERS["caltech101"](tmp_path, split) for split in ("train", "test"))
    every = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.jpg")}
    assert set(train.keys) | set(test.keys) == every and not set(train.keys) & set(test.keys)
    counts = np.bincount(train.labels["label"], minlength=102)
    assert set(np.delete(counts, 1)) == {30} and counts[1] in (29, 30)
    assert "partition drawn here over sorted names; not known to be the published one" in train.location
    assert train.status == test.status == Status.UNKNOWN_PARTITION
    np.random.seed(1234)  # as tensorflow_datasets has it
    for name in sorted(path.name for path in folder.iterdir())[:3]:
        chosen = np.random.choice(sorted(path.name for path in (folder / name).iterdir()), 30, replace=False)
        assert {key for key in train.keys if key.startswith(f"{name}/")} == {
            f"{name}/{d}" for d in chosen if d != "tmp"
        }


def test_sun_lists_are_read_from_an_installed_package_without_importing_it(tmp_path, monkeypatch):
    expected = originals.sun397(tmp_path)
    package = tmp_path / "site" / "tensorflow_datasets"
    write_file(package / "__init__.py", "raise SystemExit('run')")
    for short in ("tr", "va", "te"):
        (package / "image_classification").mkdir(exist_ok=True)
        name = f"sun397_tfds_{short}.txt"
        shutil.move(tmp_path / name, package / "image_classification" / name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    original = SPLIT_READERS["sun397"](tmp_path, "validation")
    assert list(original.keys) == [key for key, _, _ in expected["validation"]] and str(package) in original.location


def test_the_split_by_video_has_the_published_sizes():
    videos = {f"video {place:03d}": frames for place, frames in enumerate(KITTI_FRAMES)}
    split = kitti.split_videos(set(videos))
    assert {name: sum(videos[video] for video in part) for name, part in split.items()} == {
        "train": 6347, "validation": 423, "test": 711,
    }  # fmt: skip
    assert set.union(*split.values()) == set(videos) and sum(map(len, split.values())) == len(videos)


def test_images_of_one_video_share_a_split(tmp_path):
    originals.kitti(tmp_path)
    videos = kitti.read_videos(tmp_path / "mapping/train_rand.txt", tmp_path / "mapping/train_mapping.txt")
    splits = ("train", "validation", "test")
    groups = [{videos[int(key[:6])] for key in SPLIT_READERS["kitti"](tmp_path, split).keys} for split in splits]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20
