"""KITTI's labelled object images, split by video as tensorflow_datasets 3.1.0 and 3.2.0 split them."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "kitti",
    "training/image_2/<nnnnnn>.png of data_object_image_2.zip, training/label_2/<nnnnnn>.txt of "
    "data_object_label_2.zip, mapping/train_rand.txt and mapping/train_mapping.txt of devkit_object.zip",
    "https://www.cvlibs.net/datasets/kitti/eval_object.php",
    archives=("data_object_image_2", "data_object_label_2", "devkit_object", "devkit"),
    account="a registration is needed",
)
MAPPING = "mapping/train_mapping.txt"
SEED = 123
TEST_PERCENT = 10  # percent of the videos, for testing and again for validation
DEPTH_COLUMN = (
    13  # the column of z in a line of labels: type, truncated, occluded, alpha, box, sizes, x, y, z, rotation
)


def read_split(root: Path, split: str) -> OriginalSplit:
    """The images of a split, keyed ``<nnnnnn>.png``, with the distance of the nearest vehicle."""
    keys, folder = read_keys(root, split), ARCHIVE.find(root, "training/label_2")
    found = vtab_labels.kitti_distance([read_depths(folder / key.replace(".png", ".txt")) for key in keys])
    return OriginalSplit(
        keys=keys,
        labels={"label": found},
        classes={"label": vtab_labels.KITTI_DISTANCES},
        location=f"{folder}, split by the videos in {ARCHIVE.find(root, MAPPING)}",
        **ARCHIVE.image_files(ARCHIVE.find(root, "training/image_2"), keys),
    )


def read_keys(root: Path, split: str) -> list[str]:
    """The keys of a split."""
    videos = read_videos(ARCHIVE.find(root, "mapping/train_rand.txt"), ARCHIVE.find(root, MAPPING))
    chosen = split_videos(set(videos))[split]
    return [f"{number:06d}.png" for number, video in enumerate(videos) if video in chosen]


def read_videos(order: Path, mapping: Path) -> list[str]:
    """The video of each image: ``order`` has its line in ``mapping``, from 1, and the line's second word the video."""
    lines = ARCHIVE.read_lines(mapping)
    with ARCHIVE.explain_errors(order):
        places = [int(number) for number in order.read_text(encoding="utf-8").split(",")]
        if min(places) < 1 or max(places) > len(lines):
            raise ARCHIVE.damaged_error(order, f"it names lines {min(places)} to {max(places)} of {len(lines)}")
    with ARCHIVE.explain_errors(mapping):
        return [lines[place - 1].split(" ")[1] for place in places]


def split_videos(videos: set[str]) -> dict[str, set[str]]:
    """The videos of each split: a tenth of the sorted ones drawn for testing, then as many of the rest for validation.

    tensorflow_datasets' object_detection/kitti.py.
    """
    random = np.random.RandomState(SEED)
    number = max(1, TEST_PERCENT * len(videos) // 100)
    test = set(random.choice(sorted(videos), number, replace=False).tolist())
    validation = set(random.choice(sorted(videos - test), number, replace=False).tolist())
    return {"train": videos - test - validation, "validation": validation, "test": test}


def read_depths(path: Path) -> list[float]:
    """The distances of an image's vehicles along the camera's axis, in metres."""
    with ARCHIVE.explain_errors(path):
        objects = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return [float(words[DEPTH_COLUMN]) for words in objects if words and words[0] in vtab_labels.KITTI_VEHICLES]
