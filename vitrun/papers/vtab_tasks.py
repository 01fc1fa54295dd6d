"""Nineteen tasks of VTAB-1k (arXiv 1910.04867).

Groups, classes and labels are those of google-research/task_adaptation (d7630d3, data/*.py and their tests); the
names are those of table 9 of the ViT paper (arXiv 2010.11929).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Task: a label to predict for the images of a TFDS data set."""

    paper: str  # its name in papers
    group: str
    builder: str  # the data set's name in TensorFlow Datasets
    classes: int
    label: str = "label"


TASKS = {
    "caltech101": Task("Caltech101", "natural", "caltech101", 102),
    "cifar100": Task("CIFAR-100", "natural", "cifar100", 100),
    "dtd": Task("DTD", "natural", "dtd", 47),
    "flowers102": Task("Flowers102", "natural", "oxford_flowers102", 102),
    "pets": Task("Pets", "natural", "oxford_iiit_pet", 37),
    "sun397": Task("Sun397", "natural", "sun397", 397),
    "svhn": Task("SVHN", "natural", "svhn_cropped", 10),
    "camelyon": Task("Camelyon", "specialized", "patch_camelyon", 2),
    "eurosat": Task("EuroSAT", "specialized", "eurosat", 10),
    "resisc45": Task("Resisc45", "specialized", "resisc45", 45),
    "retinopathy": Task("Retinopathy", "specialized", "diabetic_retinopathy", 5),
    "clevr_count": Task("Clevr-Count", "structured", "clevr", 8, "count_all"),
    "clevr_dist": Task("Clevr-Dist", "structured", "clevr", 6, "closest_object_distance"),
    "dmlab": Task("DMLab", "structured", "dmlab", 6),
    "dspr_loc": Task("dSpr-Loc", "structured", "dsprites", 16, "label_x_position"),
    "dspr_ori": Task("dSpr-Ori", "structured", "dsprites", 16, "label_orientation"),
    "kitti_dist": Task("KITTI-Dist", "structured", "kitti", 4),
    "snorb_azim": Task("sNORB-Azim", "structured", "smallnorb", 18, "label_azimuth"),
    "snorb_elev": Task("sNORB-Elev", "structured", "smallnorb", 9, "label_elevation"),
}
GROUPS = {  # group -> the names of its tasks
    group: [name for name, task in TASKS.items() if task.group == group]
    for group in ("natural", "specialized", "structured")
}
