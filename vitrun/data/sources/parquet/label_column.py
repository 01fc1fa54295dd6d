"""A column of labels as numbers from 0 and the names of their classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate, count_classes, typed_override
from vitrun.data.sources.parquet.table_types import is_text
from vitrun.errors import ExitCode, UserError

if TYPE_CHECKING:
    import pyarrow

MAX_CLASSES = 2**20  # a column with larger numbers holds something else, such as times or ids


@dataclass(frozen=True)
class ClassLabels:
    """The labels of N images."""

    values: np.ndarray  # [N] int64
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()  # how classes were made of what is not the number of a class


def read_labels(
    data: recipes.Files,
    column: "pyarrow.ChunkedArray",
    names: Sequence[str] | None,
    all_texts: Callable[[], set[str]],
    others: Sequence[str] = (),
) -> ClassLabels:
    """Return the labels in a column.

    ``names`` are the classes as the file's metadata gives them; ``all_texts`` returns the labels of both parts if they
    are texts; ``others`` are the other columns that may be labels, for errors. Raise UserError if an image has no
    label, or if the column holds something else.
    """
    import pyarrow.types as types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    check_complete(data, column, others)
    if is_text(kind):
        classes = sorted(all_texts() | set(column.unique().to_pylist()))
        number = {name: label for label, name in enumerate(classes)}
        values = np.array([number[name] for name in column.to_pylist()], np.int64)
        note = f"the labels in the column {data.label!r} are texts: classes in order of name, {abbreviate(classes)}"
        return ClassLabels(values, tuple(classes), (note,))
    if types.is_boolean(kind):
        note = f"the labels in the column {data.label!r} are booleans: class 0 is false, class 1 is true"
        return ClassLabels(column.to_numpy().astype(np.int64), tuple(names or ("false", "true")), (note,))
    return number_labels(data, column, names, others)


def number_labels(
    data: recipes.Files, column: "pyarrow.ChunkedArray", names: Sequence[str] | None, others: Sequence[str]
) -> ClassLabels:
    """Return labels that are numbers; raise UserError if they cannot be labels."""
    import pyarrow.types as types

    notes: tuple[str, ...] = ()
    numbers = column.to_numpy() if types.is_integer(column.type) or types.is_floating(column.type) else None
    if numbers is not None and types.is_floating(column.type):
        numbers = numbers.astype(np.float64)
        if not (np.mod(numbers, 1) == 0).all():  # of nan and inf it is nan
            raise label_error(
                data, f"numbers such as {numbers[np.mod(numbers, 1) != 0][0]}, which are not classes", others
            )
        notes = (f"the labels in the column {data.label!r} are floats, all of them whole numbers",)
    if numbers is None:
        raise label_error(data, f"{column.type}, not a number or a text for each image", others)
    last, first = (int(numbers.max()), int(numbers.min())) if len(numbers) else (-1, 0)
    if last >= MAX_CLASSES or first < -MAX_CLASSES:
        raise label_error(data, f"numbers from {first} to {last}, too large for labels", others)
    classes = tuple(names or map(str, range(last + 1)))
    if last >= len(classes):
        raise UserError(
            f"{typed_override(data)} has the label {last}, but {count_classes(len(classes))}.", ExitCode.DATA
        )
    return ClassLabels(numbers.astype(np.int64), classes, notes)


def check_complete(data: recipes.Files, column: "pyarrow.ChunkedArray", others: Sequence[str]) -> None:
    """Raise UserError if an image has no label."""
    if column.null_count == len(column) > 0:
        raise label_error(data, "no labels, only empty rows", others)
    if column.null_count:
        another = advise_column(f"{data.group}.label", others, "")
        raise UserError(
            f"{typed_override(data)}: the column {data.label!r} is empty in {column.null_count} of {len(column)} "
            f"rows: {' or '.join(filter(None, ('remove them', another)))}.",
            ExitCode.DATA,
        )


def label_error(data: recipes.Files, what: str, others: Sequence[str]) -> UserError:
    """Return the error for a column that holds something else than labels."""
    way_out = advise_column(f"{data.group}.label", others, "make it a whole number from 0, or a text, for each image")
    return UserError(f"{typed_override(data)}: the column {data.label!r} holds {what}: {way_out}.", ExitCode.DATA)


def advise_column(option: str, others: Sequence[str], otherwise: str) -> str:
    """Return the advice to name one of the other columns, or ``otherwise`` if there is none."""
    more = f", or another of {abbreviate(others)}" if len(others) > 1 else ""
    return f"add {option}={others[0]}{more}" if others else otherwise
