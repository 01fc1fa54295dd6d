"""Images that come in one part, divided into training and test images."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.data.split import Split
from vitrun.runtime import random

ImageFile = tuple[str, str, int, int]  # key, path, label and file size of an image


def choose_test_files(files: Sequence[ImageFile], share: float, seed: int) -> set[str]:
    """Return the keys of the ``share`` of each class's images that are for testing, chosen by a hash of the keys.

    Of a class with two images or more, at least one is for testing and one for training; a single one is for training.
    A new image moves at most one other from part to part.
    """
    of_class: dict[int, list[str]] = defaultdict(list)
    for key, _, label, _ in files:
        of_class[label].append(key)
    chosen: set[str] = set()
    for keys in of_class.values():
        number = min(max(1, round(share * len(keys))), len(keys) - 1)
        chosen.update(sorted(keys, key=lambda key: (draw_place(seed, key), key))[:number])
    return chosen


def draw_place(seed: int, key: str) -> int:
    """Return the random number by which images, or those of a class, are ordered."""
    return random.derive_seed(seed, "folder-split", random.derive_seed(0, key))


def describe_partition(
    data: recipes.Files | recipes.Table, files: Sequence[ImageFile], names: Sequence[str], number: int
) -> str:
    """Return which images of a folder are for testing, and which classes have too few for both parts."""
    counts = [0] * len(names)
    for _, _, label, _ in files:
        counts[label] += 1
    single = [name for name, count in zip(names, counts) if count == 1]
    alone = f" ({len(single):,} with a single image, {abbreviate(single)}, only to train on)" if single else ""
    return (
        f"{data.path}; {number:,} of its {len(files):,} images, {data.test_share:.3g} of each class{alone}, are for "
        f"testing ({data.group}.test_share, {data.group}.split_seed={data.split_seed})"
    )


def divide_split(data: recipes.Captions | recipes.Coco, split: Split, part: str) -> Split:
    """Return a part of images without parts: ``data.test_share`` is for testing, chosen by a hash of the keys."""
    order = sorted(range(len(split)), key=lambda row: (draw_place(data.split_seed, split.keys[row]), split.keys[row]))
    number = min(max(1, round(data.test_share * len(split))), len(split) - 1)
    chosen = order[:number] if part == "test" else order[number:]
    where = (
        f"{split.location or data.path}; {number:,} of its {len(split):,} images, {data.test_share:.3g}, are for "
        f"testing ({data.group}.test_share, {data.group}.split_seed={data.split_seed})"
    )
    return replace(split.select(np.sort(np.array(chosen, np.int64))), location=where)
