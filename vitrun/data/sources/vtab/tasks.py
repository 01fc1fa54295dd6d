"""VTAB-1k as tables: the sixteen originals with VTAB's slices of them, and the nineteen tasks.

Slices, sizes and labels are those of google-research/task_adaptation (d7630d3, data/*.py and their tests); a slice is
written as TensorFlow Datasets writes it, and counts positions in TFDS's order of the split.
"""

import re
from dataclasses import dataclass

TRAIN800 = "train[:800]"
# In ``Original.where``, of a partition or an order that its files do not tell, and of other images than the published
UNKNOWN_PARTITION = "not known to be the published one"
NAMES_LOST = "its images have lost their names"
DIFFERENT_SPLIT = "differs from the published split"


@dataclass(frozen=True)
class Builder:
    """A data set as TFDS builds it: the number of images of each split, VTAB's slices of them, and its licence.

    ``gated`` stands for an account that is needed. Licences are those of the Hub's timm/oxford-iiit-pet and
    timm/eurosat-rgb, of CLEVR's own LICENSE.txt and of the card of 1aurent/PatchCamelyon.
    """

    splits: dict[str, int]
    val200: str
    test: str
    licence: str = "unstated"


@dataclass(frozen=True)
class Task:
    """What is to be told of the images of a builder: one of its labels."""

    group: str
    builder: str
    classes: int
    label: str = "label"


BUILDERS = {
    "caltech101": Builder({"train": 3060, "test": 6084}, "train[2754:2954]", "test"),
    "cifar100": Builder({"train": 50000, "test": 10000}, "train[45000:45200]", "test"),
    "dtd": Builder({"train": 1880, "validation": 1880, "test": 1880}, "validation[:200]", "test"),
    "oxford_flowers102": Builder({"train": 1020, "validation": 1020, "test": 6149}, "validation[:200]", "test"),
    "oxford_iiit_pet": Builder({"train": 3680, "test": 3669}, "train[2944:3144]", "test", "CC BY-SA"),
    "sun397": Builder({"train": 76128, "validation": 10875, "test": 21750}, "validation[:200]", "test"),
    "svhn_cropped": Builder({"train": 73257, "test": 26032}, "train[65931:66131]", "test"),
    "patch_camelyon": Builder({"train": 262144, "validation": 32768, "test": 32768}, "validation[:200]", "test", "CC0"),
    "eurosat": Builder({"train": 27000}, "train[16200:16400]", "train[21600:]", "MIT"),
    "resisc45": Builder({"train": 31500}, "train[18900:19100]", "train[25200:]"),
    "diabetic_retinopathy": Builder(
        {"train": 35126, "validation": 10906, "test": 42670}, "validation[:200]", "test", "gated"
    ),
    "clevr": Builder({"train": 70000, "validation": 15000}, "train[63000:63200]", "validation", "CC BY"),
    "dmlab": Builder({"train": 65550, "validation": 22628, "test": 22735}, "validation[:200]", "test"),
    "dsprites": Builder({"train": 737280}, "train[589824:590024]", "train[663552:]"),
    "kitti": Builder({"train": 6347, "validation": 423, "test": 711}, "validation[:200]", "test", "gated"),
    "smallnorb": Builder({"train": 24300, "test": 24300}, "test[:200]", "test[12150:]"),
}

TASKS = {
    "caltech101": Task("natural", "caltech101", 102),
    "cifar100": Task("natural", "cifar100", 100),
    "dtd": Task("natural", "dtd", 47),
    "flowers102": Task("natural", "oxford_flowers102", 102),
    "pets": Task("natural", "oxford_iiit_pet", 37),
    "sun397": Task("natural", "sun397", 397),
    "svhn": Task("natural", "svhn_cropped", 10),
    "camelyon": Task("specialized", "patch_camelyon", 2),
    "eurosat": Task("specialized", "eurosat", 10),
    "resisc45": Task("specialized", "resisc45", 45),
    "retinopathy": Task("specialized", "diabetic_retinopathy", 5),
    "clevr_count": Task("structured", "clevr", 8, "count_all"),
    "clevr_dist": Task("structured", "clevr", 6, "closest_object_distance"),
    "dmlab": Task("structured", "dmlab", 6),
    "dspr_loc": Task("structured", "dsprites", 16, "label_x_position"),
    "dspr_ori": Task("structured", "dsprites", 16, "label_orientation"),
    "kitti_dist": Task("structured", "kitti", 4),
    "snorb_azim": Task("structured", "smallnorb", 18, "label_azimuth"),
    "snorb_elev": Task("structured", "smallnorb", 9, "label_elevation"),
}


def part_slices(builder: str, part: str) -> list[tuple[str, slice]]:
    """The split of the builder and the positions in its order of each piece of ``part``."""
    row = BUILDERS[builder]
    pieces = {"train800": [TRAIN800], "val200": [row.val200], "train800val200": [TRAIN800, row.val200]}
    return [parse_slice(text) for text in pieces.get(part, [row.test])]


def task_sizes(name: str) -> tuple[int, int, int]:
    """Classes, training and test images of a task."""
    task = TASKS[name]
    ((split, rows),) = part_slices(task.builder, "test")
    return task.classes, 1000, len(range(BUILDERS[task.builder].splits[split])[rows])


def task_licence(name: str) -> str:
    """The licence of the images of a task, or what stands in the way to them."""
    return BUILDERS[TASKS[name].builder].licence


def parse_slice(text: str) -> tuple[str, slice]:
    """``train[5:9]`` as the split's name and the positions; the whole split where there are no brackets."""
    split, start, stop = re.fullmatch(r"(\w+)(?:\[(\d*):(\d*)\])?", text).groups()
    return split, slice(int(start or 0), int(stop) if stop else None)
