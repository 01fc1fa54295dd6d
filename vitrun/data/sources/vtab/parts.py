"""The parts of a VTAB-1k task: its training, validation and test images in the order of TFDS."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sources.vtab import copies
from vitrun.data.sources.vtab.builders import BUILDERS, part_slices
from vitrun.data.sources.vtab.keys import KEY_FORMATS
from vitrun.data.sources.vtab.originals.archive import OriginalSplit, Status
from vitrun.data.split import Split
from vitrun.data.tfds_order import tfds_order
from vitrun.errors import ExitCode, UserError
from vitrun.papers.vtab_tasks import TASKS, Task
from vitrun.runtime.console import Screen


def open_suite(data: recipes.Suite, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Raise UserError: a suite is several data sets."""
    raise UserError(f"data={data.name} is a suite of tasks: open one, as in data={data.name}/{data.tasks[0]}")


def open_vtab(data: recipes.Vtab, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of a task; ``train`` and ``test`` are the parts that ``data.train`` and ``data.test`` name."""
    task = TASKS[data.task]
    folder = data.path or Path(data.root or "") / task.builder
    return read_part(task, folder, {"train": data.train, "test": data.test}.get(part, part))


def read_part(task: Task, folder: Path, part: str) -> Split:
    """Return a part of a task whose original is in ``folder``, in the order of TFDS.

    ``part`` is ``train800``, ``val200``, ``train800val200`` or ``test``. A key is the split and the key of TFDS, as
    in ``train/16399``.
    """
    slices = part_slices(task.builder, part)
    originals = {split: read_complete_split(task, folder, split) for split in dict(slices)}
    orders = {split: tfds_order(original.keys, split) for split, original in originals.items()}
    rows = [(split, int(row)) for split, positions in slices for row in orders[split][positions]]

    def read_encoded(index: int) -> bytes | np.ndarray:
        split, row = rows[index]
        return originals[split].image(row)

    keys = [f"{split}/{originals[split].keys[row]}" for split, row in rows]
    labels = np.array([originals[split].labels[task.label][row] for split, row in rows], dtype=np.int64)
    known_sizes = {split: original.sizes for split, original in originals.items() if original.sizes is not None}
    sizes = None
    if len(known_sizes) == len(originals):
        sizes = np.array([known_sizes[split][row] for split, row in rows], dtype=np.int64)
    classes = originals[slices[0][0]].classes[task.label]
    location = "; ".join(dict.fromkeys(original.location for original in originals.values()))
    as_published = all(original.status is Status.AS_PUBLISHED for original in originals.values())
    return Split(
        keys,
        labels,
        classes,
        read_encoded=read_encoded,
        sizes=sizes,
        location=location,
        in_tfds_order=as_published,
    )


def read_complete_split(task: Task, folder: Path, split: str) -> OriginalSplit:
    """Return a whole split of a task's original.

    Raise a UserError if its number of images or classes is not the published one, since TFDS's order depends on every
    key; a copy or partition that is known to differ passes, and its ``location`` says so.
    """
    original = copies.read_original_or_copy(task.builder, folder, split)
    if Status.NAMES_LOST in original.status and task.builder not in KEY_FORMATS:
        raise UserError(
            f"{original.location}, and VTAB's subset is chosen by these names: fetch the original.", ExitCode.DATA
        )
    images, classes = len(original.keys), len(original.classes[task.label])
    published = BUILDERS[task.builder].splits[split]
    differs = (images, classes) != (published, task.classes)
    if differs and not original.status & (Status.UNKNOWN_PARTITION | Status.DIFFERENT_SPLIT):
        raise UserError(
            f"{original.location}: {images} images of {classes} classes, but the published {split} split of "
            f"{task.builder} has {published} of {task.classes}, and VTAB's subset is chosen from all of them. "
            "Fetch the whole original; `vitrun data vtab data.root=FOLDER` says where it comes from.",
            ExitCode.DATA,
        )
    return original
