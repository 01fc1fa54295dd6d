"""Predictions of an image, and the columns that they have in files."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """Likeliest classes of an image, likeliest first, with their probabilities; or why it could not be read."""

    path: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str = ""

    def describe(self) -> dict[str, Any]:
        """Return the fields that a row has in JSON."""
        if self.error:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "classes": [*self.classes], "probabilities": [*self.probabilities]}

    def list_lines(self, top: int) -> list[list[str]]:
        """Return one line: path, then name and probability of ``top`` classes, then the error."""
        pairs = [cell for name, value in zip(self.classes, self.probabilities) for cell in (name, f"{value:.6g}")]
        return [[self.path, *pairs, *[""] * (2 * top - len(pairs)), self.error]]


@dataclass(frozen=True)
class FoundObjects:
    """Objects in an image, most probable first; or why it could not be read."""

    path: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()  # left, top, width and height in pixels of the image
    error: str = ""

    def describe(self) -> dict[str, Any]:
        """Return the fields that a row has in JSON."""
        if self.error:
            return {"path": self.path, "error": self.error}
        columns = {"classes": [*self.classes], "probabilities": [*self.probabilities]}
        return {"path": self.path, **columns, "boxes": [[*box] for box in self.boxes]}

    def list_lines(self, top: int) -> list[list[str]]:
        """Return a line for each object, with the number of objects in the image; one line if there is none."""
        number = len(self.boxes)
        lines = [
            [self.path, str(number), name, f"{value:.6g}", *(f"{side:.2f}" for side in box), ""]
            for name, value, box in zip(self.classes, self.probabilities, self.boxes)
        ]
        return lines or [[self.path, str(number), *[""] * 6, self.error]]


Row = Prediction | FoundObjects


@dataclass(frozen=True)
class Columns:
    """Columns of a file of predictions: of the ``top`` likeliest classes, or of objects if it is None."""

    top: int | None

    @property
    def header(self) -> list[str]:
        """Return the names of the columns of CSV."""
        if self.top is None:
            return ["path", "objects", "class", "probability", "left", "top", "width", "height", "error"]
        names = [f"{what}{number}" for number in range(1, self.top + 1) for what in ("class", "probability")]
        return ["path", *names, "error"]

    def count_lines(self, line: Sequence[str]) -> int:
        """Return how many lines of CSV an image has, by the first of them."""
        return max(1, int(line[1])) if self.top is None else 1

    @property
    def lists(self) -> list[str]:
        """Return the names of the columns of Parquet that have lists, beside path and error."""
        return ["classes", "probabilities", *["boxes"] * (self.top is None)]


def format_csv(rows: Sequence[Row], columns: Columns, header: bool = False) -> str:
    """Return lines of CSV."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(columns.header)
    for row in rows:
        writer.writerows(row.list_lines(columns.top or 0))
    return text.getvalue()
