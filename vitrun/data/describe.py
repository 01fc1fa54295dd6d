"""What is in a folder of images: its splits, sizes, classes, and how a command would read it."""

import shlex
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from vitrun import choices, recipe
from vitrun.data import files
from vitrun.data.splits import Split
from vitrun.mistakes import Exit, Mistake
from vitrun.screen import Screen, table

LOOKED_AT = 5000  # images of a split, evenly spread, whose sizes are read
HEADER = ["split", "images", "classes", "a class", "format", "width", "height", "fingerprint"]


def describe(path: Path, screen: Screen) -> None:
    """Print one row a split of a folder in the Hub's layout or with a folder a class, and the words that read it."""
    if not path.is_dir():
        raise Mistake(f"path={path}: there is no folder {path.absolute()}.", Exit.DATA)
    shards = files.parquet_splits(path, None)
    if shards:
        row = in_parquet(path, next(iter(shards.values()))[0])
        parts = {name: files.source(replace(row, test=name), "test") for name in sorted(shards)}
    else:
        row = choices.data_row("folder", path=path)
        parts = {part: files.source(row, part) for part in ("train", "test")}
    screen.say(table(HEADER, [[name, *facts(split)] for name, split in parts.items()]))
    words = {option: getattr(row, option) for option in ("image", "label") if shards}
    words |= {part: "NAME" for part in ("train", "test") if part not in parts}
    words = [f"data={row.name}", f"data.path={path}", *(f"data.{option}={word}" for option, word in words.items())]
    screen.say(f"To use it: {shlex.join(words)}")
    if any(len(split) > LOOKED_AT for split in parts.values()):
        screen.say(f"Formats and sizes are those of up to {LOOKED_AT:,} images a split, evenly spread.")


def in_parquet(path: Path, file: Path) -> recipe.Files:
    """The recipe row that reads a folder of parquet files, with the columns that one of them has."""
    import datasets
    import pyarrow.parquet

    try:
        features = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(file))
    except (OSError, ValueError) as error:  # pyarrow's own kinds are of these
        raise Mistake(f"{file} cannot be read: {files.first_line(error)}.", Exit.DATA) from None
    images = [
        name
        for name, kind in features.items()
        if isinstance(kind, datasets.Image) or isinstance(kind, dict) and "bytes" in kind
    ]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels += [name for name, kind in features.items() if getattr(kind, "dtype", "") in ("int64", "int32")]
    if not images or not labels:
        missing = "images" if not images else "labels"
        raise Mistake(f"{file} has no column of {missing}: it has {', '.join(features)}.", Exit.DATA)
    return choices.data_row("parquet", path=path, image=images[0], label=labels[0])


def facts(split: Split) -> list[str]:
    """The cells of a split's row behind its name."""
    if not len(split):
        return ["0", str(len(split.classes)), "", "", "", "", ""]
    present = np.unique_counts(split.labels).counts
    whole = len(present) == len(split.classes)
    classes = f"{len(split.classes):,}" if whole else f"{len(present):,} of {len(split.classes):,}"
    formats, widths, heights = zip(*(look(split, i) for i in range(0, len(split), -(-len(split) // LOOKED_AT))))
    kinds = " ".join(kind for kind, _ in Counter(formats).most_common())
    return [f"{len(split):,}", classes, span(present), kinds, span(widths), span(heights), split.fingerprint]


def look(split: Split, index: int) -> tuple[str, int, int]:
    """Format, width and height of an image, read from its first bytes."""
    try:
        with Image.open(BytesIO(split.encoded(index))) as image:
            return image.format, image.width, image.height
    except (OSError, ValueError, SyntaxError) as error:
        raise Mistake(f"{split.keys[index]} is no readable image: {error}.", Exit.DATA) from None


def span(numbers: object) -> str:
    """``224``, or ``102-1280`` where they differ."""
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low}-{high}"
