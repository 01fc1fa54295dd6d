"""``vitrun data vtab data.root=FOLDER``: the originals of VTAB-1k in a folder, compared with the published ones."""

import json
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab import copies
from vitrun.data.sources.vtab.builders import BUILDERS, part_slices
from vitrun.data.sources.vtab.keys import (
    CLASS_COUNTS,
    KEY_DIGESTS,
    PARTS,
    digest_parts,
    published_part_keys,
    split_into_parts,
)
from vitrun.data.sources.vtab.originals import KEY_READERS, OriginalSplit
from vitrun.data.sources.vtab.originals.archive import Status
from vitrun.data.tfds_order import tfds_order
from vitrun.errors import ExitCode, UserError
from vitrun.papers.vtab_tasks import TASKS
from vitrun.runtime.console import Screen
from vitrun.runtime.outputs import check_replaceable, unwritable_error, write_output
from vitrun.runtime.text_tables import format_table

HEADER = ["task", "group", "original", "images", "order"]
PartKeys = dict[str, list[str]]  # part -> its keys in order


class State(Enum):
    """State of the folder of an original."""

    COMPLETE = "complete"
    MISSING = "missing"
    DAMAGED = "incomplete"


class Order(StrEnum):
    """Comparison of the order of an original's images with the published one, as printed in the table."""

    EXACT = "exact"
    DIFFERS = "differs"
    UNKNOWN = "cannot be known from this copy"
    UNCONFIRMED = "order computed, no published check value"
    KEYS_ONLY = "known without its images"
    NONE = "-"


@dataclass(frozen=True)
class Finding:
    """Result of checking one original."""

    state: State
    images: str  # their number, of each split
    order: Order
    keys: PartKeys  # empty if neither the folder nor the published names give them
    note: str


def check_originals(root: Path, save: Path | None, screen: Screen, force: bool = False) -> list[dict[str, str]]:
    """Print one row per task and a note per original, and write all keys that are known to ``save``, if it is given.

    Return the rows. Raise a UserError if an original is damaged or differs from the published one, or if ``save``
    exists, unless it is an earlier file of keys and ``force`` is set.
    """
    if save is not None:
        if save.suffix != ".json":
            why = "is a JSON file of keys, and its name must end in .json."
            raise UserError(why, option="save", value=str(save))
        check_replaceable(save, "save")
    findings = {builder: examine_original(builder, root / builder) for builder in BUILDERS}
    by_task = {name: findings[task.builder] for name, task in TASKS.items()}
    rows = [[name, task.group, task.builder, by_task[name].images, by_task[name].order] for name, task in TASKS.items()]
    screen.print(format_table(HEADER, rows))
    for finding in findings.values():
        screen.log(finding.note)
    complete = sum(finding.state is State.COMPLETE for finding in by_task.values())
    known = sum(bool(finding.keys) for finding in by_task.values())
    if save is not None:
        write_keys(by_task, save, force)
    keys = f"The keys of {known} written to {save}" if save else f"To write the keys of {known}: save=FILE.json"
    screen.log(f"{complete} of {len(TASKS)} tasks found. {keys}")
    wrong = [name for name, one in findings.items() if State.DAMAGED is one.state or Order.DIFFERS is one.order]
    if wrong:
        raise UserError(f"not as published (see above): {', '.join(wrong)}.", ExitCode.DATA, "data.root", str(root))
    return [dict(zip(HEADER, row)) for row in rows]


def examine_original(builder: str, folder: Path) -> Finding:
    """Return what is in the folder of an original."""
    published = published_part_keys(builder)
    try:
        originals = {split: copies.read_original_or_copy(builder, folder, split) for split in BUILDERS[builder].splits}
    except UserError as error:
        state = State.DAMAGED if folder.is_dir() else State.MISSING
        keys = published or read_listed_keys(builder, folder)
        return Finding(state, state.value, Order.KEYS_ONLY if keys else Order.NONE, keys, str(error))
    sizes = {split: len(original.keys) for split, original in originals.items()}
    images = ", ".join(format_count(number, BUILDERS[builder].splits[split]) for split, number in sizes.items())
    note = f"{builder}: {'; '.join(dict.fromkeys(original.location for original in originals.values()))}"
    order, keys = Order.DIFFERS, published or {}
    status = reduce(or_, (original.status for original in originals.values()))
    if Status.UNKNOWN_PARTITION in status or Status.NAMES_LOST in status and not published:
        order, keys = Order.UNKNOWN, {}
    elif sizes == BUILDERS[builder].splits:
        if mismatch := describe_class_mismatch(builder, originals):
            note = f"{note}; {mismatch}"
        elif Status.NAMES_LOST in status:
            order = Order.UNKNOWN
        else:
            order, keys = compare_order(builder, originals, published)
    return Finding(State.COMPLETE, images, order, keys, note)


def compare_order(
    builder: str, originals: dict[str, OriginalSplit], published: PartKeys | None
) -> tuple[Order, PartKeys]:
    """Return how the order of a complete original compares with the published one, and the keys of its parts."""
    keys = split_into_parts(builder, {split: list(original.keys) for split, original in originals.items()})
    expected = digest_parts(published) if published else KEY_DIGESTS.get(builder)
    if expected is None:
        return Order.UNCONFIRMED, keys
    return Order.EXACT if digest_parts(keys) == expected else Order.DIFFERS, published or keys


def read_listed_keys(builder: str, folder: Path) -> PartKeys:
    """Return the keys of the parts as the original's lists give them; empty if it has no lists, or incomplete ones."""
    if builder not in KEY_READERS:
        return {}
    try:
        keys = {split: KEY_READERS[builder](folder, split) for split in BUILDERS[builder].splits}
    except UserError:
        return {}
    complete = {split: len(names) for split, names in keys.items()} == BUILDERS[builder].splits
    return split_into_parts(builder, keys) if complete else {}


def describe_class_mismatch(builder: str, originals: dict[str, OriginalSplit]) -> str:
    """Return which parts have images of more or fewer classes than a build of TFDS; empty if none."""
    orders = {split: tfds_order(originals[split].keys, split) for split in originals if builder in CLASS_COUNTS}
    mismatches = []
    for part, published in CLASS_COUNTS.get(builder, {}).items():
        labels = [originals[split].labels["label"][orders[split][rows]] for split, rows in part_slices(builder, part)]
        if (classes := len(np.unique(np.concatenate(labels)))) != published:
            mismatches.append(f"{part} has images of {classes} classes, the published one of {published}")
    return "; ".join(mismatches)


def format_count(number: int, published: int) -> str:
    """Return a number of images, with the published one if it differs."""
    return f"{number}" if number == published else f"{number} (published {published})"


def write_keys(findings: dict[str, Finding], save: Path, force: bool) -> None:
    """Write the keys of every task as JSON: task -> builder, and the keys of each part in order; null if unknown."""
    tree = {
        name: {"builder": TASKS[name].builder, **{part: finding.keys.get(part) for part in PARTS}}
        for name, finding in findings.items()
    }
    try:
        write_output(
            save, lambda partial: partial.write_text(json.dumps(tree, indent=0), encoding="utf-8"), "save", force
        )
    except OSError as error:
        raise unwritable_error(save, "save", error) from None
