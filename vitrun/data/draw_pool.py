"""The training images from which few-shot draws are made, and their order before a draw.

big_vision (evaluators/fewshot_lsr.py) draws from the images in the order in which TensorFlow Datasets (TFDS) reads
them. Other copies have another order. TFDS's can be computed if the copy has the names or numbers of all images.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vitrun import recipes
from vitrun.data.split import Split
from vitrun.data.tfds_order import read_order, tfds_order

KEY_CHUNK = 65536  # keys looked up together
# SHA-1 of data_batch_1.bin to data_batch_5.bin, and of train.bin (mxnet gluon/data/vision/datasets.py)
CIFAR10_FILES = (
    "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "26e2849e66a845b7f1e4614ae70f4889ae604628",
)
CIFAR100_FILES = ("e207cd2e05b73b1393c74c7f5e7bea451d63e08e",)
# The coarse label of each fine label (github.com/ryanchankh/cifar100coarse)
CIFAR100_COARSE = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7,
    6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10,
    16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16,
    12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip


@dataclass(frozen=True)
class DrawPool:
    """The training images to draw from, in their order before a draw, and a sentence for the log about that order."""

    order: np.ndarray  # [N] rows of the training part
    note: str


@dataclass(frozen=True)
class TrainingSplit:
    """A training split as TFDS builds it, recognized by its numbers of images and classes.

    ``find_keys`` returns TFDS's key of each image, or None if they are not known. ``shards`` is the largest power of
    two up to 1024 that gives at least 64 MiB each (tfds core/utils/shard_utils.py): 1024 for the 138 GiB of ImageNet,
    4 for the 388 MiB of Pets, 1 for the others.
    """

    name: str
    images: int
    classes: int
    shards: int
    find_keys: Callable[[Split], list[str] | None]
    needed: str  # what a copy must have for its keys to be known
    first: int | None = None  # the number of images that big_vision draws from; None for all


def find_draw_pool(data: recipes.Data, train: Split) -> DrawPool:
    """Return the training images to draw from, in the order of TFDS if their keys are known, otherwise in their own."""
    own = np.arange(len(train))
    if train.in_tfds_order:
        return DrawPool(own, "draws start from the order of TensorFlow Datasets")
    size = (len(train), len(train.classes))
    known = next((split for split in TRAINING_SPLITS if (split.images, split.classes) == size), None)
    if known is None:
        return DrawPool(
            own, "draws start from the order of the images as they are read: no published one is known for them"
        )
    keys = known.find_keys(train)
    if keys is None or len(set(keys)) < len(keys):
        why = f"the order of TensorFlow Datasets ({known.name}) needs {known.needed}"
        return DrawPool(own, f"draws start from the order of this copy and differ from big_vision's: {why}")
    salt = "validation" if str(getattr(data, "train", "")).startswith("val") else "train"
    first = known.first or known.images
    rows = tfds_order(keys, salt)[read_order(known.images, known.shards, first)]
    which = f"{known.name}, the first {first:,} of {known.images:,} images" if known.first else known.name
    return DrawPool(rows, f"draws start from the order of TensorFlow Datasets ({which})")


def match_names(split: Split, pattern: re.Pattern[str], suffix: str) -> list[str] | None:
    """Return the key of each image: its file name as ``pattern`` matches it, and ``suffix``. None if one differs."""
    keys = []
    for first in range(0, len(split), KEY_CHUNK):
        matches = [pattern.fullmatch(key.rpartition("/")[2]) for key in split.keys[first : first + KEY_CHUNK]]
        file_names = [match[1] + suffix for match in matches if match]
        if len(file_names) < len(matches):
            return None
        keys += file_names
    return keys


def number_cifar(split: Split, digests: Sequence[str], coarse: Sequence[int] = ()) -> list[str] | None:
    """Return the number of each row if labels and pixels equal the records of the original binary files, else None.

    ``digests`` are the SHA-1 of the files. A record is the coarse label, if there is one, the label and the pixels.
    """
    if split.pixels is None or split.pixels.shape[1:] != (3, 32, 32):
        return None
    columns = [split.labels] if not coarse else [np.array(coarse)[split.labels], split.labels]
    heads = np.stack(columns, 1).astype(np.uint8)
    rows = len(split) // len(digests)
    for file, digest in enumerate(digests):
        part = slice(file * rows, (file + 1) * rows)
        records = np.concatenate([heads[part], split.pixels[part].numpy().reshape(rows, -1)], 1)
        if hashlib.sha1(records.data, usedforsecurity=False).hexdigest() != digest:
            return None
    return [str(row) for row in range(len(split))]


# The copy on the Hub repeats the synset: n01440764_10026_n01440764.JPEG
IMAGENET_NAME = re.compile(r"(n\d{8}_\d+)(?:_n\d{8})?(?:\.\w+)?")
PET_NAME = re.compile(r"([A-Za-z]+(?:_[A-Za-z]+)*_\d+)(?:\.\w+)?")
FLOWER_NAME = re.compile(r"(image_\d{5})(?:\.\w+)?")
CIFAR_NEEDS = "the labels and pixels of the original binary files, in their order"
# Keys: tfds datasets/imagenet2012, image_classification/cifar.py, datasets/oxford_iiit_pet, datasets/oxford_flowers102.
# ImageNet's first 65,000 have at least 30 images of each class (big_vision configs/common_fewshot.py).
TRAINING_SPLITS = (
    TrainingSplit(
        "imagenet2012",
        1_281_167,
        1000,
        1024,
        partial(match_names, pattern=IMAGENET_NAME, suffix=".JPEG"),
        "file names such as n01440764_10026.JPEG",
        first=65_000,
    ),
    TrainingSplit("cifar10", 50_000, 10, 1, partial(number_cifar, digests=CIFAR10_FILES), CIFAR_NEEDS),
    TrainingSplit(
        "cifar100", 50_000, 100, 1, partial(number_cifar, digests=CIFAR100_FILES, coarse=CIFAR100_COARSE), CIFAR_NEEDS
    ),
    TrainingSplit(
        "oxford_iiit_pet",
        3_680,
        37,
        4,
        partial(match_names, pattern=PET_NAME, suffix=".jpg"),
        "file names such as Abyssinian_100.jpg",
    ),
    TrainingSplit(
        "oxford_flowers102",
        1_020,
        102,
        1,
        partial(match_names, pattern=FLOWER_NAME, suffix=".jpg"),
        "file names such as image_00001.jpg",
    ),
)
