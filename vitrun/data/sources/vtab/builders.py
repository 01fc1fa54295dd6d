"""The sixteen TFDS data sets of VTAB-1k, and VTAB's slices of them.

Slices and sizes are those of google-research/task_adaptation (d7630d3, data/*.py and their tests). A slice is written
as TensorFlow Datasets writes it, and counts positions in TFDS's order of the split.
"""

from dataclasses import dataclass

from vitrun.papers.vtab_tasks import TASKS

TRAIN800 = "train[:800]"


@dataclass(frozen=True)
class Builder:
    """A data set as TFDS builds it.

    Licences are those of the Hub's timm/oxford-iiit-pet and timm/eurosat-rgb, of CLEVR's own LICENSE.txt and of the
    card of 1aurent/PatchCamelyon; ``gated`` means that an account is needed.
    """

    splits: dict[str, int]  # split -> number of images
    val200: str
    test: str
    licence: str = "unstated"


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


def part_slices(builder: str, part: str) -> list[tuple[str, slice]]:
    """Return the slices that make up ``part``, each as a split and positions in TFDS's order of it."""
    row = BUILDERS[builder]
    slices = {"train800": [TRAIN800], "val200": [row.val200], "train800val200": [TRAIN800, row.val200]}
    return [parse_slice(text) for text in slices.get(part, [row.test])]


def task_sizes(name: str) -> tuple[int, int, int]:
    """Return the numbers of classes, training and test images of a task."""
    task = TASKS[name]
    ((split, rows),) = part_slices(task.builder, "test")
    return task.classes, 1000, len(range(BUILDERS[task.builder].splits[split])[rows])


def task_licence(name: str) -> str:
    """Return the licence of a task's images; ``gated`` if they need an account."""
    return BUILDERS[TASKS[name].builder].licence


def parse_slice(text: str) -> tuple[str, slice]:
    """Return the split and the positions of a slice such as ``train[5:9]``; without brackets it is the whole split."""
    split, _, positions = text.removesuffix("]").partition("[")
    start, _, stop = positions.partition(":")
    return split, slice(int(start or 0), int(stop) if stop else None)
