"""TFDS keys that are known without any image: numbers, and names of files as published."""

import hashlib
from functools import cache

from vitrun.data.sources.vtab.builders import BUILDERS, part_slices
from vitrun.data.tfds_order import tfds_order

PARTS = ("train800", "val200", "test")  # no two share an image
# How the builder of each split names its example number 0, 1, 2 ... (tfds image_classification/*.py, image/clevr.py)
KEY_FORMATS = {
    "cifar100": {"train": "{}", "test": "{}"},
    "svhn_cropped": {"train": "{}", "test": "{}"},
    "smallnorb": {"train": "{}", "test": "{}"},
    "dsprites": {"train": "{}"},
    "patch_camelyon": {"train": "train_{}", "validation": "valid_{}", "test": "test_{}"},
    "clevr": {"train": "CLEVR_train_{:06d}.png", "validation": "CLEVR_val_{:06d}.png"},
}
# The images of each class, in files Class_1.jpg, Class_2.jpg ... (arXiv 1709.00029, table 2)
EUROSAT_CLASS_SIZES = {
    "AnnualCrop": 3000, "Forest": 3000, "HerbaceousVegetation": 3000, "Highway": 2500, "Industrial": 2500,
    "Pasture": 2000, "PermanentCrop": 2500, "Residential": 3000, "River": 2500, "SeaLake": 3000,
}  # fmt: skip
# 700 images of each, in files class_001.jpg to class_700.jpg (arXiv 1703.00121)
RESISC45_CLASSES = (
    "airplane", "airport", "baseball_diamond", "basketball_court", "beach", "bridge", "chaparral", "church",
    "circular_farmland", "cloud", "commercial_area", "dense_residential", "desert", "forest", "freeway", "golf_course",
    "ground_track_field", "harbor", "industrial_area", "intersection", "island", "lake", "meadow", "medium_residential",
    "mobile_home_park", "mountain", "overpass", "palace", "parking_lot", "railway", "railway_station",
    "rectangular_farmland", "river", "roundabout", "runway", "sea_ice", "ship", "snowberg", "sparse_residential",
    "stadium", "storage_tank", "tennis_court", "terrace", "thermal_power_station", "wetland",
)  # fmt: skip
KNOWN_BUILDERS = (*KEY_FORMATS, "eurosat", "resisc45")
# The number of classes with an image in a part, in a build of TFDS (task_adaptation #21)
CLASS_COUNTS = {
    "caltech101": {"val200": 86},
    "cifar100": {"val200": 90},
    "oxford_flowers102": {"val200": 90},
    "sun397": {"train800": 309, "train800val200": 325},
}
# The digests of other builders' parts, from the lists that tensorflow_datasets 4.9.10 ships
KEY_DIGESTS = {"sun397": {"train800": "bbfe318c912bf278", "val200": "ed3f4079a4f342a7", "test": "e6ff58577ca493eb"}}


def published_keys(builder: str, split: str) -> list[str]:
    """Return the keys of a split of one of ``KNOWN_BUILDERS``, in the order of the original."""
    if builder == "eurosat":
        return [f"{name}_{name}_{n}.jpg" for name, number in EUROSAT_CLASS_SIZES.items() for n in range(1, number + 1)]
    if builder == "resisc45":
        return [f"{name}_{name}_{n:03d}.jpg" for name in RESISC45_CLASSES for n in range(1, 701)]
    return [KEY_FORMATS[builder][split].format(n) for n in range(BUILDERS[builder].splits[split])]


def order_keys(keys: list[str], split: str) -> list[str]:
    """Return the keys in TFDS's order of the split."""
    return [keys[row] for row in tfds_order(keys, split)]


def split_into_parts(builder: str, keys: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the keys of ``train800``, ``val200`` and ``test`` of a builder, given those of each of its splits."""
    order = {split: order_keys(keys[split], split) for split in keys}
    return {part: [key for split, rows in part_slices(builder, part) for key in order[split][rows]] for part in PARTS}


@cache
def published_part_keys(builder: str) -> dict[str, list[str]] | None:
    """Return the keys of the parts of a builder; None if they are known only from its files."""
    if builder not in KNOWN_BUILDERS:
        return None
    return split_into_parts(builder, {split: published_keys(builder, split) for split in BUILDERS[builder].splits})


def digest_parts(keys: dict[str, list[str]]) -> dict[str, str]:
    """Return for each part 16 hex digits of the SHA-256 of its keys in order, one per line."""
    return {part: hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] for part, names in keys.items()}
