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
SPLITS = ("train", "validation", "test")
SEED = 123
TEST_PERCENT = 10  # of the videos, for testing; and as many for validation
# z in a line of labels: type, truncated, occluded, alpha, box (4), sizes (3), x, y, z, rotation
DEPTH_COLUMN = 13


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return a split, keyed ``<nnnnnn>.png``, with the distance of the nearest vehicle."""
    keys, folder = read_keys(root, split), ARCHIVE.find(root, "training/label_2")
    ARCHIVE.check_number(folder, len(keys))
    labels = vtab_labels.kitti_distance([read_depths(folder / key.replace(".png", ".txt")) for key in keys])
    return OriginalSplit(
        keys=keys,
        labels={"label": labels},
        classes={"label": vtab_labels.KITTI_DISTANCES},
        location=f"{folder}, split by the videos in {ARCHIVE.find(root, MAPPING)}",
        **ARCHIVE.image_files(ARCHIVE.find(root, "training/image_2"), keys),
    )


def read_keys(root: Path, split: str) -> list[str]:
    """Return the keys of a split."""
    mapping = ARCHIVE.find(root, MAPPING)
    videos = read_videos(ARCHIVE.find(root, "mapping/train_rand.txt"), mapping)
    if len(set(videos)) < len(SPLITS):
        raise ARCHIVE.damaged_error(mapping, f"it names {len(set(videos))} videos, fewer than there are splits")
    chosen = split_videos(set(videos))[split]
    return [f"{number:06d}.png" for number, video in enumerate(videos) if video in chosen]


def read_videos(order: Path, mapping: Path) -> list[str]:
    """Return the video of each image.

    ``order`` gives each image's line in ``mapping``, counted from 1; the second field of that line is the video.
    """
    lines = ARCHIVE.read_lines(mapping)
    with ARCHIVE.explain_errors(order):
        numbers = [int(number) for number in ARCHIVE.read_text(order).split(",")]
        if min(numbers) < 1 or max(numbers) > len(lines):
            raise ARCHIVE.damaged_error(order, f"it names lines {min(numbers)} to {max(numbers)} of {len(lines)}")
    with ARCHIVE.explain_errors(mapping):
        return [lines[number - 1].split(" ")[1] for number in numbers]


def split_videos(videos: set[str]) -> dict[str, set[str]]:
    """Return the videos of each split, as object_detection/kitti.py of tensorflow_datasets draws them.

    A tenth of the sorted videos is drawn for testing, then as many of the rest for validation.
    """
    random = np.random.RandomState(SEED)
    number = max(1, TEST_PERCENT * len(videos) // 100)
    test = set(random.choice(sorted(videos), number, replace=False).tolist())
    validation = set(random.choice(sorted(videos - test), number, replace=False).tolist())
    return {"train": videos - test - validation, "validation": validation, "test": test}


def read_depths(path: Path) -> list[float]:
    """Return the distances of an image's vehicles along the camera's axis, in metres."""
    with ARCHIVE.explain_errors(path):
        objects = [line.split() for line in ARCHIVE.read_text(path).splitlines()]
        return [float(line[DEPTH_COLUMN]) for line in objects if line and line[0] in vtab_labels.KITTI_VEHICLES]
