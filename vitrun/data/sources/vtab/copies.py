"""VTAB's originals, or copies of them in parquet.

A copy gives the exact subset if its images still have their names and none is missing.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from vitrun import recipes
from vitrun.data.sources import local_files
from vitrun.data.sources.vtab.builders import BUILDERS
from vitrun.data.sources.vtab.originals import SPLIT_READERS
from vitrun.data.sources.vtab.originals.archive import OriginalSplit, Status
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables

CLASS_AND_FILE, FILE = r"[^/]+/[^/]+$", r"[^/]+$"
ROW_NUMBER = None  # the key is the row's number in the original, which no name gives
# builder -> the columns of images and labels, and the part of an image's path that is its key
COPY_COLUMNS = {
    "caltech101": ("image", "label", CLASS_AND_FILE),
    "cifar100": ("img", "fine_label", ROW_NUMBER),
    "dtd": ("image", "label", CLASS_AND_FILE),
    "oxford_flowers102": ("image", "label", FILE),
    "oxford_iiit_pet": ("image", "label", FILE),
    "sun397": ("image", "label", r"/[a-z]/.+$"),
    "svhn_cropped": ("image", "label", ROW_NUMBER),
}
# A second partition of Caltech-101 is in use: LAION's CLIP benchmark has 6085 test images, and so 3059 for training.
CLIP_BENCHMARK_SIZES = {("caltech101", "train"): 3059, ("caltech101", "test"): 6085}


def read_original_or_copy(builder: str, folder: Path, split: str) -> OriginalSplit:
    """Return a split of the original in ``folder``, or of its copy in parquet.

    ``status`` and ``location`` say if the split is another than the published one, or a copy without image names.
    """
    is_copy = any(folder.glob("*.parquet"))
    original = read_copy(builder, folder, split) if is_copy else SPLIT_READERS[builder](folder, split)
    images, published = len(original.keys), BUILDERS[builder].splits[split]
    if images != published and (is_copy or images == CLIP_BENCHMARK_SIZES.get((builder, split))):
        return replace(
            original,
            location=f"{original.location}; {images} images: differs from the published split of {published}",
            status=original.status | Status.DIFFERENT_SPLIT,
        )
    return original


def read_copy(builder: str, folder: Path, split: str) -> OriginalSplit:
    """Return a split of a copy in parquet, keyed by its images' names or, if the copy has lost them, by row numbers.

    Raise a UserError if copies of this builder's data set lack its keys.
    """
    if builder not in COPY_COLUMNS:
        raise UserError(
            f"{folder} is a copy in parquet, which lacks the keys of {builder}: give the original. "
            "`vitrun data vtab data.root=FOLDER` says where it comes from.",
            ExitCode.DATA,
        )
    image, label, pattern = COPY_COLUMNS[builder]
    row = tables.load_data_row("parquet", path=folder, test=split, image=image, label=label)
    rows = local_files.open_path(cast(recipes.Files, row), "test")
    paths = [key.partition("/")[2] for key in rows.keys]
    matches = [pattern and re.search(pattern, f"/{path}") for path in paths]
    keys = [match[0] for match in matches if match]
    location, status = f"{folder}, a copy in the Hub's layout", Status.AS_PUBLISHED
    if len(set(keys)) < len(rows):
        keys, status = [str(row) for row in range(len(rows))], Status.NAMES_LOST
        location += "; its images have lost their names, so that only the order of its rows is known"
    return OriginalSplit(
        keys,
        {"label": rows.labels},
        {"label": rows.classes},
        cast(Any, rows.read_encoded),
        location,
        status,
        rows.sizes,
    )
