"""Files of what a detector finds in test images: ``detections.json``, ``ap_by_class.csv`` and ``boxes.png``.

Nothing here imports torch.
"""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import read_small_text

DETECTIONS_FILE = "detections.json"  # all, in COCO's format of results
CLASSES_FILE = "ap_by_class.csv"
PICTURE_FILE = "boxes.png"  # some test images with true and found boxes


class ClassScore(NamedTuple):
    """Average precision of the boxes of one class."""

    name: str
    objects: int  # true boxes, without crowds
    ap: float  # share, the mean over IoU 0.5 to 0.95; NaN without objects
    ap50: float  # at IoU 0.5


COLUMNS = ("class", "objects", "AP", "AP50")  # those of the file


def write_class_scores(scores: Iterable[ClassScore], path: Path) -> None:
    """Write a row for each class; those without objects have no AP."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, objects, *values in scores:
            writer.writerow([name, objects, *("" if math.isnan(value) else f"{value:.6f}" for value in values)])


def load_class_scores(folder: Path) -> list[ClassScore]:
    """Return the scores of the run in a folder; raise UserError if its file is damaged."""
    path = folder / CLASSES_FILE
    try:
        rows = list(csv.DictReader(io.StringIO(read_small_text(path)), strict=True))
        scores = [
            ClassScore(row["class"], int(row["objects"]), *(float(row[name] or "nan") for name in COLUMNS[2:]))
            for row in rows
        ]
        if not all(score.objects >= 0 and is_share(score.ap) and is_share(score.ap50) for score in scores):
            raise ValueError("it has numbers that no class can have")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        why = f"{path} is damaged ({type(error).__name__} {error}): delete it, and run vitrun eval init={folder.name}."
        raise UserError(why, ExitCode.CHECKPOINT) from None
    return scores


def is_share(value: float) -> bool:
    """Return whether a value is a share, or NaN."""
    return math.isnan(value) or 0 <= value <= 1
