"""Images of a folder or a table with their captions, and what is wrong with some of them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vitrun.data.sources.messages import abbreviate, escape_name, shorten, single_line
from vitrun.data.sources.named_files import NO_FILE, explain_missing, measure_file
from vitrun.data.split import Encoded, Split
from vitrun.runtime.files import read_regular_file

NO_CAPTION = "has no caption. Write one, or remove the image."
EMPTY = "has an empty caption. Write one, or remove the image."
NOT_UTF8 = "has a caption that is not UTF-8. Save it as UTF-8, or remove the image."
KINDS = {NO_CAPTION: "without a caption", EMPTY: "with an empty one", NOT_UTF8: "with one that is not UTF-8",
         NO_FILE: "without a file"}  # fmt: skip

MOST_COUNTED = 1000  # images, evenly spread, whose captions are counted


@dataclass
class Listing:
    """N images in files with their captions."""

    paths: list[str] = field(default_factory=list)  # as the table has them, or below the folder
    captions: list[tuple[str, ...]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)  # what is wrong with an image, by its index
    divided: bool = False  # whether these are those of one part alone

    def add(self, path: str, texts: Sequence[str | None]) -> None:
        """Add an image with all its captions, of which empty ones and those that are not UTF-8 do not count."""
        captions, fault = clean_captions(texts)
        if fault:
            self.faults[len(self.paths)] = fault
        self.paths.append(path)
        self.captions.append(captions)


def clean_captions(texts: Sequence[str | None]) -> tuple[tuple[str, ...], str]:
    """Return the captions that can be used, and what is wrong with the texts if there is none."""
    fault, captions = NO_CAPTION, []
    for text in texts:
        if text is None:
            continue
        stripped = text.strip()
        if any("\ud800" <= letter <= "\udfff" for letter in stripped):  # a byte that is not UTF-8, or half a pair
            fault = NOT_UTF8
        elif stripped:
            captions.append(stripped)
        elif fault == NO_CAPTION:
            fault = EMPTY
    return tuple(captions), "" if captions else fault


def make_captioned_split(
    keys: Sequence[str],
    read_encoded: Callable[[int], Encoded],
    sizes: np.ndarray | None,
    listing: Listing,
) -> Split:
    """Return the split of images without labels whose captions are in memory."""
    digest = hashlib.sha256()
    for texts in listing.captions:
        digest.update("\0".join(texts).encode() + b"\n")
    captions = listing.captions
    return Split(
        keys,
        np.full(len(keys), -1),
        (),
        read_encoded=read_encoded,
        sizes=sizes,
        read_captions=lambda index: captions[index],
        captions_fingerprint=digest.hexdigest(),
        unusable=listing.faults,
    )


def open_listing(source: Path, base: Path, listing: Listing) -> Split:
    """Return the split of images that ``source``, a table or a folder, has; their paths start from ``base``."""
    paths = [os.path.join(base, path) for path in listing.paths]
    sizes = np.array([measure_file(path) for path in paths], np.int64)
    for index in np.flatnonzero(sizes < 0).tolist():
        listing.faults[index] = explain_missing(source)
    keys = [*map(escape_name, listing.paths)]
    return make_captioned_split(keys, lambda index: read_regular_file(Path(paths[index])), sizes, listing)


def describe_captions(split: Split) -> tuple[str, ...]:
    """Return notes on how many captions there are, and how many images have none that can be used, with an example."""
    assert split.read_captions is not None
    notes = []
    rows = range(0, len(split), -(-len(split) // MOST_COUNTED) or 1)
    usable = [row for row in rows if row not in split.unusable]
    if usable:
        counts = [len(split.read_captions(row)) for row in usable]
        each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        example = shorten(single_line(split.read_captions(usable[0])[0]), 80)
        notes.append(f"captions: {each} an image, such as {example!r}")
    for fault, what in KINDS.items():
        if faulty := [row for row, text in split.unusable.items() if text.startswith(fault)]:
            names = abbreviate([split.keys[row] for row in faulty], 2)
            notes.append(f"captions: {len(faulty):,} of {len(split):,} images {what}: {names}")
    return tuple(notes)
