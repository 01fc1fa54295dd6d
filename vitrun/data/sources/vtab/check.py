"""``vitrun data vtab data.root=FOLDER``: which originals of VTAB-1k lie there, and whether they are as published."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab import copies
from vitrun.data.sources.vtab.keys import (
    CLASS_COUNTS,
    KEY_DIGESTS,
    PARTS,
    digest_parts,
    published_part_keys,
    split_into_parts,
)
from vitrun.data.sources.vtab.originals import KEY_READERS, OriginalSplit
from vitrun.data.sources.vtab.tasks import BUILDERS, NAMES_LOST, TASKS, UNKNOWN_PARTITION, part_slices
from vitrun.data.sources.vtab.tfds_order import tfds_order
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen, format_table
from vitrun.runtime.files import write_text_atomic

ORDER_EXACT = "exact"
ORDER_DIFFERS = "differs"
ORDER_UNKNOWN = "cannot be known from this copy"
ORDER_UNPUBLISHED = "order computed, no published check value"
KEYS_ONLY = "known without its images"
MISSING = "missing"
DAMAGED = "not whole"


@dataclass(frozen=True)
class Finding:
    """What is known of one original: the images found, whether their order is the published one, and its keys."""

    images: str
    order: str  # one of those above
    keys: dict[str, list[str]]  # part -> keys in order; empty where neither the folder nor the names tell them
    note: str


def check_originals(root: Path, save: Path, screen: Screen) -> None:
    """Print a row a task, say what is missing, and write the keys of all that can be known to ``save``."""
    found = {builder: examine_original(builder, root / builder) for builder in BUILDERS}
    rows = [
        [name, task.group, task.builder, found[task.builder].images, found[task.builder].order]
        for name, task in TASKS.items()
    ]
    screen.print(format_table(["task", "group", "original", "images", "order"], rows))
    for finding in found.values():
        screen.log(finding.note)
    write_keys(found, save)
    here = sum(found[task.builder].images not in (MISSING, DAMAGED) for task in TASKS.values())
    known = sum(bool(found[task.builder].keys) for task in TASKS.values())
    screen.log(f"{here} of {len(TASKS)} tasks found. The keys of {known} written to {save}")
    if wrong := [
        builder for builder, finding in found.items() if finding.images == DAMAGED or finding.order == ORDER_DIFFERS
    ]:
        raise UserError(f"data.root={root}: not what is published, as said above: {', '.join(wrong)}.", ExitCode.DATA)


def examine_original(builder: str, folder: Path) -> Finding:
    """What lies in the folder of an original."""
    published = published_part_keys(builder)
    try:
        originals = {split: copies.read_original_or_copy(builder, folder, split) for split in BUILDERS[builder].splits}
    except UserError as mistake:
        state, keys = DAMAGED if folder.is_dir() else MISSING, published or read_listed_keys(builder, folder)
        return Finding(state, KEYS_ONLY if keys else "-", keys, str(mistake))
    sizes = {split: len(original.keys) for split, original in originals.items()}
    images = ", ".join(format_count(number, BUILDERS[builder].splits[split]) for split, number in sizes.items())
    source = f"{builder}: {'; '.join(dict.fromkeys(original.where for original in originals.values()))}"
    if UNKNOWN_PARTITION in source or NAMES_LOST in source and not published:
        return Finding(images, ORDER_UNKNOWN, {}, source)
    if sizes != BUILDERS[builder].splits:
        return Finding(images, ORDER_DIFFERS, published or {}, source)
    if others := describe_class_mismatch(builder, originals):
        return Finding(images, ORDER_DIFFERS, published or {}, f"{source}; {others}")
    if NAMES_LOST in source:
        return Finding(images, ORDER_UNKNOWN, published, source)
    keys = split_into_parts(builder, {split: list(original.keys) for split, original in originals.items()})
    expected = digest_parts(published) if published else KEY_DIGESTS.get(builder)
    order = ORDER_UNPUBLISHED if expected is None else ORDER_EXACT if digest_parts(keys) == expected else ORDER_DIFFERS
    return Finding(images, order, published or keys, source)


def read_listed_keys(builder: str, folder: Path) -> dict[str, list[str]]:
    """The keys of the parts as files without an image list them; none where there are no such files, or others."""
    try:
        keys = {
            split: KEY_READERS[builder](folder, split) for split in BUILDERS[builder].splits if builder in KEY_READERS
        }
    except UserError:
        return {}
    whole = {split: len(found) for split, found in keys.items()} == BUILDERS[builder].splits
    return split_into_parts(builder, keys) if whole else {}


def describe_class_mismatch(builder: str, originals: dict[str, OriginalSplit]) -> str:
    """Which parts have images of more or fewer classes than a build of TFDS; nothing where all are as there."""
    orders = {split: tfds_order(originals[split].keys, split) for split in originals if builder in CLASS_COUNTS}
    found = []
    for part, published in CLASS_COUNTS.get(builder, {}).items():
        labels = [originals[split].labels["label"][orders[split][rows]] for split, rows in part_slices(builder, part)]
        if (classes := len(np.unique(np.concatenate(labels)))) != published:
            found.append(f"{part} has images of {classes} classes, where the published one has them of {published}")
    return "; ".join(found)


def format_count(found: int, published: int) -> str:
    """A number of images, beside the published one where it is another."""
    return f"{found}" if found == published else f"{found} (published {published})"


def write_keys(found: dict[str, Finding], save: Path) -> None:
    """The keys of every task as JSON: task -> builder, and the keys of each part in order; null where unknown."""
    tree = {
        name: {"builder": task.builder, **{part: found[task.builder].keys.get(part) for part in PARTS}}
        for name, task in TASKS.items()
    }
    try:
        write_text_atomic(save, json.dumps(tree, indent=0))
    except OSError as error:
        raise UserError(f"save={save}: cannot write there: {error.strerror}.", ExitCode.SPACE) from None
