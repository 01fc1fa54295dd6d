"""VTAB's originals, or copies of them in the Hub's layout: exact where images kept their names and none is missing."""

import re
from dataclasses import replace
from pathlib import Path

from vitrun.data.sources import local_files
from vitrun.data.sources.vtab.originals import SPLIT_READERS
from vitrun.data.sources.vtab.originals.archive import OriginalSplit
from vitrun.data.sources.vtab.tasks import BUILDERS, DIFFERENT_SPLIT, NAMES_LOST
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables

CLASS_AND_FILE, FILE = r"[^/]+/[^/]+$", r"[^/]+$"
ROW_NUMBER = None  # the key is the row's number in the original, which is told from no name
# The columns of image and label, and what of an image's path is its key
COPY_COLUMNS = {
    "caltech101": ("image", "label", CLASS_AND_FILE),
    "cifar100": ("img", "fine_label", ROW_NUMBER),
    "dtd": ("image", "label", CLASS_AND_FILE),
    "oxford_flowers102": ("image", "label", FILE),
    "oxford_iiit_pet": ("image", "label", FILE),
    "sun397": ("image", "label", r"/[a-z]/.+$"),
    "svhn_cropped": ("image", "label", ROW_NUMBER),
}
# Of Caltech-101 a second partition is known: LAION's CLIP benchmark has 6085 test images, and so 3059 for training.
CLIP_BENCHMARK_SIZES = {("caltech101", "train"): 3059, ("caltech101", "test"): 6085}


def read_original_or_copy(builder: str, folder: Path, split: str) -> OriginalSplit:
    """A split of the original in ``folder``, or of a copy in parquet.

    Its ``where`` says if it is another draw than the published one, and of a copy if its images lost their names.
    """
    copied = any(folder.glob("*.parquet"))
    original = read_copy(builder, folder, split) if copied else SPLIT_READERS[builder](folder, split)
    found, published = len(original.keys), BUILDERS[builder].splits[split]
    if found != published and (copied or found == CLIP_BENCHMARK_SIZES.get((builder, split))):
        return replace(
            original, where=f"{original.where}; {found} images: {DIFFERENT_SPLIT} of {published}, another draw"
        )
    return original


def read_copy(builder: str, folder: Path, split: str) -> OriginalSplit:
    """A split of a copy in parquet, keyed by what is left of its images' names; where nothing is, by its rows."""
    if builder not in COPY_COLUMNS:
        raise UserError(
            f"{folder} is a copy in parquet, from which the keys of {builder} do not follow: give the original. "
            "`vitrun data vtab data.root=FOLDER` says where it comes from.",
            ExitCode.DATA,
        )
    image, label, pattern = COPY_COLUMNS[builder]
    found = local_files.open_path(
        tables.load_data_row("parquet", path=folder, test=split, image=image, label=label), "test"
    )
    paths = [key.partition("/")[2] for key in found.keys]
    names = [pattern and re.search(pattern, f"/{path}") for path in paths]
    keys, where = [name[0] for name in names if name], f"{folder}, a copy in the Hub's layout"
    if len(set(keys)) < len(names):
        keys, where = (
            [str(row) for row in range(len(names))],
            f"{where}; {NAMES_LOST}, only their rows tell their order",
        )
    return OriginalSplit(
        keys, {"label": found.labels}, {"label": found.classes}, found.read_encoded, where, found.sizes
    )
