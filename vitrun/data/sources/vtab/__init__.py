"""VTAB-1k (arXiv 1910.04867) exactly: the thousand training images and the test images of its nineteen tasks."""

from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sources.vtab import copies
from vitrun.data.sources.vtab.keys import KEY_FORMATS
from vitrun.data.sources.vtab.originals.archive import OriginalSplit
from vitrun.data.sources.vtab.tasks import (
    BUILDERS,
    DIFFERENT_SPLIT,
    NAMES_LOST,
    TASKS,
    UNKNOWN_PARTITION,
    Task,
    part_slices,
)
from vitrun.data.sources.vtab.tfds_order import tfds_order
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError


def open_vtab(data: recipes.Vtab, part: str) -> Split:
    """A part of a task in TFDS's order, read from its original; ``train`` and ``test`` are those that ``data`` names.

    Keys are the split of TFDS and the key there, as in ``train/16399``.
    """
    task = TASKS[data.task]
    folder = data.path or data.root / task.builder
    return read_part(task, folder, {"train": data.train, "test": data.test}.get(part, part))


def read_part(task: Task, folder: Path, part: str) -> Split:
    """``train800``, ``val200``, both together or ``test`` of a task whose original lies in ``folder``."""
    pieces = part_slices(task.builder, part)
    originals = {split: read_complete_split(task, folder, split) for split in dict(pieces)}
    orders = {split: tfds_order(original.keys, split) for split, original in originals.items()}
    places = [(split, int(row)) for split, rows in pieces for row in orders[split][rows]]

    def encoded(index: int) -> bytes | np.ndarray:
        split, row = places[index]
        return originals[split].image(row)

    keys = [f"{split}/{originals[split].keys[row]}" for split, row in places]
    labels = np.array([originals[split].labels[task.label][row] for split, row in places], dtype=np.int64)
    sized = all(original.sizes is not None for original in originals.values())
    sizes = np.array([originals[split].sizes[row] for split, row in places], dtype=np.int64) if sized else None
    classes = originals[pieces[0][0]].classes[task.label]
    where = "; ".join(dict.fromkeys(original.where for original in originals.values()))
    return Split(keys, labels, classes, read_encoded=encoded, sizes=sizes, location=where)


def read_complete_split(task: Task, folder: Path, split: str) -> OriginalSplit:
    """A whole split of the original; a UserError where it is not the published one, for then its order is another."""
    original = copies.read_original_or_copy(task.builder, folder, split)
    found = len(original.keys), len(original.classes[task.label])
    published = BUILDERS[task.builder].splits[split], task.classes
    if NAMES_LOST in original.where and task.builder not in KEY_FORMATS:
        raise UserError(f"{original.where}, from which VTAB's subset follows: fetch the original.", ExitCode.DATA)
    if found != published and UNKNOWN_PARTITION not in original.where and DIFFERENT_SPLIT not in original.where:
        raise UserError(
            f"{original.where}: {found[0]} images of {found[1]} classes, but the published {split} split of "
            f"{task.builder} has {published[0]} of {published[1]}, and VTAB's subset follows from all of them. "
            "Fetch the whole original; `vitrun data vtab data.root=FOLDER` says where it comes from.",
            ExitCode.DATA,
        )
    return original
