"""``vitrun data vtab data.root=FOLDER``: which originals of VTAB-1k lie there, and whether they are as published."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab import copies
from vitrun.data.sources.vtab.keys import CODES, COVERED, PARTS, codes, parts, published_parts
from vitrun.data.sources.vtab.originals import LISTS, Original
from vitrun.data.sources.vtab.tasks import BUILDERS, DRAWN, NAMELESS, TASKS, slices
from vitrun.data.sources.vtab.tfds_order import tfds_order
from vitrun.errors import Exit, Mistake
from vitrun.runtime.console import Screen, table
from vitrun.runtime.files import write_file

EXACT = "exact"
DIFFERS = "differs"
UNKNOWN = "cannot be known from this copy"
UNPUBLISHED = "order computed, no published check value"
NAMES = "known without its images"
MISSING = "missing"
BROKEN = "not whole"


@dataclass(frozen=True)
class Finding:
    """What is known of one original: the images found, whether their order is the published one, and its keys."""

    images: str
    order: str  # one of those above
    keys: dict[str, list[str]]  # part -> keys in order; empty where neither the folder nor the names tell them
    note: str


def main(root: Path, save: Path, screen: Screen) -> None:
    """Print a row a task, say what is missing, and write the keys of all that can be known to ``save``."""
    found = {builder: examine(builder, root / builder) for builder in BUILDERS}
    rows = [
        [name, task.group, task.builder, found[task.builder].images, found[task.builder].order]
        for name, task in TASKS.items()
    ]
    screen.show(table(["task", "group", "original", "images", "order"], rows))
    for finding in found.values():
        screen.say(finding.note)
    write(found, save)
    here = sum(found[task.builder].images not in (MISSING, BROKEN) for task in TASKS.values())
    known = sum(bool(found[task.builder].keys) for task in TASKS.values())
    screen.say(f"{here} of {len(TASKS)} tasks found. The keys of {known} written to {save}")
    if wrong := [builder for builder, finding in found.items() if finding.images == BROKEN or finding.order == DIFFERS]:
        raise Mistake(f"data.root={root}: not what is published, as said above: {', '.join(wrong)}.", Exit.DATA)


def examine(builder: str, folder: Path) -> Finding:
    """What lies in the folder of an original."""
    published = published_parts(builder)
    try:
        originals = {split: copies.read(builder, folder, split) for split in BUILDERS[builder].splits}
    except Mistake as mistake:
        state, keys = BROKEN if folder.is_dir() else MISSING, published or from_lists(builder, folder)
        return Finding(state, NAMES if keys else "-", keys, str(mistake))
    sizes = {split: len(original.keys) for split, original in originals.items()}
    images = ", ".join(sized(number, BUILDERS[builder].splits[split]) for split, number in sizes.items())
    source = f"{builder}: {'; '.join(dict.fromkeys(original.where for original in originals.values()))}"
    if DRAWN in source or NAMELESS in source and not published:
        return Finding(images, UNKNOWN, {}, source)
    if sizes != BUILDERS[builder].splits:
        return Finding(images, DIFFERS, published or {}, source)
    if others := uncovered(builder, originals):
        return Finding(images, DIFFERS, published or {}, f"{source}; {others}")
    if NAMELESS in source:
        return Finding(images, UNKNOWN, published, source)
    keys = parts(builder, {split: list(original.keys) for split, original in originals.items()})
    expected = codes(published) if published else CODES.get(builder)
    order = UNPUBLISHED if expected is None else EXACT if codes(keys) == expected else DIFFERS
    return Finding(images, order, published or keys, source)


def from_lists(builder: str, folder: Path) -> dict[str, list[str]]:
    """The keys of the parts as files without an image list them; none where there are no such files, or others."""
    try:
        keys = {split: LISTS[builder](folder, split) for split in BUILDERS[builder].splits if builder in LISTS}
    except Mistake:
        return {}
    whole = {split: len(found) for split, found in keys.items()} == BUILDERS[builder].splits
    return parts(builder, keys) if whole else {}


def uncovered(builder: str, originals: dict[str, Original]) -> str:
    """Which parts have images of more or fewer classes than a build of TFDS; nothing where all are as there."""
    orders = {split: tfds_order(originals[split].keys, split) for split in originals if builder in COVERED}
    found = []
    for part, published in COVERED.get(builder, {}).items():
        labels = [originals[split].labels["label"][orders[split][rows]] for split, rows in slices(builder, part)]
        if (classes := len(np.unique(np.concatenate(labels)))) != published:
            found.append(f"{part} has images of {classes} classes, where the published one has them of {published}")
    return "; ".join(found)


def sized(found: int, published: int) -> str:
    """A number of images, beside the published one where it is another."""
    return f"{found}" if found == published else f"{found} (published {published})"


def write(found: dict[str, Finding], save: Path) -> None:
    """The keys of every task as JSON: task -> builder, and the keys of each part in order; null where unknown."""
    tree = {
        name: {"builder": task.builder, **{part: found[task.builder].keys.get(part) for part in PARTS}}
        for name, task in TASKS.items()
    }
    try:
        write_file(save, json.dumps(tree, indent=0))
    except OSError as error:
        raise Mistake(f"save={save}: cannot write there: {error.strerror}.", Exit.SPACE) from None
