"""Classes are matched by their names, not by their order."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vitrun.data.sources.messages import abbreviate
from vitrun.data.split import PLACEHOLDER, Split


def find_classes(known: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Return the position in ``known`` of each of ``names`` [C], -1 for those that it lacks.

    Numbers are equal if their values are, as ``01`` and ``1``; so are the ways in which Unicode writes an accent.
    """
    keys = [unify_name(name, all(map(str.isdecimal, (*known, *names)))) for name in (*known, *names)]
    if len(set(keys[: len(known)])) < len(known) or len(set(keys[len(known) :])) < len(names):
        keys = [*known, *names]
    positions = {key: position for position, key in enumerate(keys[: len(known)])}
    return np.array([positions.get(key, -1) for key in keys[len(known) :]], dtype=np.int64)


def unify_name(name: str, number: bool) -> str:
    """Return a name that is equal for all spellings of it."""
    return str(int(name)) if number else unicodedata.normalize("NFC", name)


def relabel(split: Split, classes: Sequence[str], positions: np.ndarray) -> Split:
    """Return the split with ``classes``, where its class c is the one at ``positions[c]``."""

    def move(labels: np.ndarray) -> np.ndarray:
        return np.where(labels < 0, labels, positions[labels])

    accepted = None if split.accepted is None else move(split.accepted)
    boxes = None if split.boxes is None else split.boxes.relabel(positions, len(classes))
    moved = replace(split, labels=move(split.labels), accepted=accepted, boxes=boxes)
    return replace(moved, classes=tuple(classes), imagenet_labels=None)


def is_unnamed(names: Sequence[str]) -> bool:
    """Return whether names only count the classes: ``0``, ``1`` ..., or ``LABEL_0`` ... as transformers writes."""
    return all(name.removeprefix("LABEL_") == str(number) for number, name in enumerate(names))


def describe_unlabelled(split: Split) -> str:
    """Return how many images of a split have no label, as some test parts are published; an empty string if none.

    Images with captions and no classes lack none, and those with boxes may show no object.
    """
    if split.boxes is not None or split.read_captions is not None and not split.classes:
        return ""
    number = int((split.labels.reshape(len(split), -1)[:, 0] < 0).sum()) if len(split) else 0
    return f"{number:,} of {len(split):,} images without a label (-1)" if number else ""


def describe_missing_classes(split: Split) -> str:
    """Return how many classes have no images in a split, and which; an empty string if none or unknown."""
    if split.index_fingerprint == PLACEHOLDER or (len(split) and split.labels.max() < 0):
        return ""
    present = np.zeros(len(split.classes), bool)
    present[split.labels[split.labels >= 0]] = True
    missing = [name for name, here in zip(split.classes, present) if not here]
    return f"{len(missing):,} of {len(split.classes):,} classes ({abbreviate(missing)})" if missing else ""
