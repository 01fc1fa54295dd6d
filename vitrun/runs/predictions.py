"""Predictions of a run for its test images: the file ``preds.parquet``.

Labels and predictions are positions in ``classes``. Nothing here imports torch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import parse_json

PREDICTIONS_FILE = "preds.parquet"
METADATA_KEY = b"vitrun"  # of the file's schema: JSON with the names of the classes
COLUMNS = ("id", "label", "top5", "probabilities", "loss")
DRAW = "draw"  # the column of the seeds of few-shot draws, each of which predicts all images
RIGHT = "right"  # the column of correct labels, if they are not those of ``label``


@dataclass(frozen=True)
class PredictionTable:
    """Predictions for N images of C classes."""

    keys: Sequence[str]  # [N] names of the images in their data set
    labels: np.ndarray  # [N], or [N, K] padded with -1 if an image may have several
    top_classes: np.ndarray  # [N, 5] the likeliest classes, likeliest first; all classes if there are fewer
    probabilities: np.ndarray = field(repr=False)  # [N, 5] float32, theirs
    losses: np.ndarray = field(repr=False)  # [N] float32
    classes: tuple[str, ...] = field(repr=False)  # [C] names
    accepted: np.ndarray | None = None  # [N, A] labels that count as correct, padded with -1; None for ``labels``
    draws: np.ndarray | None = None  # [N] seed of the few-shot draw that a row is of; None if each image has one row

    @property
    def has_single_labels(self) -> bool:
        """Return whether each image has one label, which alone is correct."""
        return self.labels.ndim == 1 and self.accepted is None

    @property
    def correct_labels(self) -> np.ndarray:
        """Return the labels that count as correct, [N, A] padded with -1; an image without any does not count."""
        return self.labels.reshape(len(self.labels), -1) if self.accepted is None else self.accepted

    @property
    def is_correct(self) -> np.ndarray:
        """Return whether the likeliest class of each image is correct: [N] bool."""
        return (self.top_classes[:, :1] == self.correct_labels).any(1)

    def write(self, path: Path) -> None:
        """Write the table as Parquet, with the names of the classes in the metadata of its schema."""
        import pyarrow
        import pyarrow.parquet

        label, labels = pyarrow.int64(), pyarrow.list_(pyarrow.int64())
        columns = {
            "id": pyarrow.array(self.keys, pyarrow.string()),
            "label": pyarrow.array(list_labels(self.labels), label if self.labels.ndim == 1 else labels),
            "top5": to_lists(self.top_classes.astype(np.int64)),
            "probabilities": to_lists(self.probabilities.astype(np.float32)),
            "loss": pyarrow.array(self.losses, pyarrow.float32()),
        }
        if self.accepted is not None:
            columns[RIGHT] = pyarrow.array(list_labels(self.accepted), labels)
        if self.draws is not None:
            columns[DRAW] = pyarrow.array(self.draws, label)
        metadata = {METADATA_KEY: json.dumps({"classes": self.classes})}
        with path.open("wb") as file:  # pyarrow takes a path with a colon for an address
            pyarrow.parquet.write_table(pyarrow.table(columns, metadata=metadata), file)


def to_lists(matrix: np.ndarray) -> Any:
    """Return an array [N, K] as a column of N lists."""
    import pyarrow

    rows, length = matrix.shape
    return pyarrow.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * length, matrix.ravel())


def list_labels(labels: np.ndarray) -> list[Any]:
    """Return labels [N] as they are, or [N, K] as lists without their padding of -1."""
    if labels.ndim == 1:
        return list(labels.tolist())
    return [[label for label in row if label >= 0] for row in labels.tolist()]


def load_predictions(folder: Path) -> PredictionTable | None:
    """Return the predictions of the run in a folder; None if it has none; raise UserError if they are damaged."""
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        return None
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            return parse_table(pyarrow.parquet.read_table(file))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pyarrow.ArrowException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise UserError(
            f"{path} is damaged, or of another vitrun ({reason}). Delete it, and run vitrun eval init={folder.name}.",
            ExitCode.CHECKPOINT,
        ) from None


def parse_table(table: Any) -> PredictionTable:
    """Return what :meth:`PredictionTable.write` wrote; raise ValueError, KeyError or TypeError if it did not."""
    metadata = table.schema.metadata or {}
    if METADATA_KEY not in metadata:
        raise ValueError("it does not name its classes")
    columns = {name: table[name] for name in COLUMNS}
    columns |= {name: table[name] for name in (RIGHT, DRAW) if name in table.column_names}
    if any(column.null_count for column in columns.values()):
        raise ValueError("it has empty fields")
    parsed = PredictionTable(
        keys=columns["id"].to_pylist(),
        labels=pad_labels(columns["label"].to_pylist()),
        top_classes=to_matrix(columns["top5"], np.int64),
        probabilities=to_matrix(columns["probabilities"], np.float32),
        losses=columns["loss"].to_numpy().astype(np.float32),
        classes=tuple(map(str, parse_json(metadata[METADATA_KEY])["classes"])),
        accepted=pad_labels(columns[RIGHT].to_pylist(), always=True) if RIGHT in columns else None,
        draws=columns[DRAW].to_numpy() if DRAW in columns else None,
    )
    check_table(parsed)
    return parsed


def to_matrix(column: Any, kind: type) -> np.ndarray:
    """Return a column of N lists as an array [N, K]; raise ValueError if they differ in length."""
    return np.asarray(column.combine_chunks().flatten().to_numpy(), kind).reshape(len(column), -1)


def check_table(table: PredictionTable) -> None:
    """Raise ValueError if labels are none of the classes, or probabilities are none."""
    labels = np.concatenate([values.ravel() for values in (table.labels, table.top_classes, table.correct_labels)])
    lowest = min(table.top_classes.min(initial=0), table.labels.min(initial=0) if table.has_single_labels else 0)
    if labels.max(initial=-1) >= len(table.classes) or lowest < 0:
        raise ValueError("its labels are none of its classes")
    if table.probabilities.shape != table.top_classes.shape or not table.top_classes.size:
        raise ValueError("its columns do not belong together")
    if not ((table.probabilities >= 0) & (table.probabilities <= 1)).all():  # NaN is neither
        raise ValueError("its probabilities are not between 0 and 1")


def pad_labels(labels: list[Any], always: bool = False) -> np.ndarray:
    """Return labels as an array [N]; lists of labels, or ``always``, as [N, K] padded with -1."""
    if not always and not any(isinstance(label, list) for label in labels):
        return np.array(labels, dtype=np.int64)
    widest = max((len(label) for label in labels), default=0)
    return np.array([[*label, *[-1] * (widest - len(label))] for label in labels], dtype=np.int64).reshape(-1, widest)
