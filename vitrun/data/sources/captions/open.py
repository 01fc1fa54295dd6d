"""Opening a part of a set of images with captions."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vitrun import recipes
from vitrun.data.sources.captions.listing import describe_captions, open_listing
from vitrun.data.sources.captions.parquet_columns import as_files, assign_splits, open_captioned_table
from vitrun.data.sources.captions.tables import TABLE_SUFFIXES, read_table
from vitrun.data.sources.captions.text_files import list_text_files
from vitrun.data.sources.folder_errors import PART_NAMES
from vitrun.data.sources.hub.snapshot import download_split
from vitrun.data.sources.messages import abbreviate, typed_override
from vitrun.data.sources.named_files import NO_FILE, check_places
from vitrun.data.sources.parquet.find import find_splits
from vitrun.data.sources.partition import divide_split
from vitrun.data.sources.scan import Scan
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import is_url
from vitrun.runtime.console import Screen


def open_captions(data: recipes.Captions, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of images with captions: of a table, of a folder, or of a data set on the Hub.

    Raise UserError if there are no images with captions, or no files of them.
    """
    if data.path is None:
        data = replace(data, path=download_split(as_files(data), part, screen, tick).path)
    if data.folder.is_dir() and (splits := find_splits(data.folder, data.config)):
        named = assign_splits(data, splits)
        split = open_captioned_table(named, part, tick)
        require_usable(data, split)
        split = divide_split(data, split, part) if named.train == named.test else split
    else:
        split = open_files(data, part)
    split = replace(split, exif=data.exif, notes=(*split.notes, *describe_captions(split)))
    published = data.train_images if part == "train" else data.test_images
    if published is not None and len(split) != published:
        raise UserError(
            f"{typed_override(data)} has {published:,} {part} images as published, but its source has {len(split):,}.",
            ExitCode.DATA,
        )
    return split


def pending_captions(data: recipes.Captions, part: str) -> str | None:
    """Return where a part would be downloaded from; None if it lies in ``data.path``."""
    return None if data.path is not None else f"{data.hub}, as published: not downloaded"


def open_files(data: recipes.Captions, part: str) -> Split:
    """Return a part of the images that tables name, or that lie beside text files."""
    given = data.train if part == "train" else data.test
    if given not in (None, recipes.AUTO):
        source = data.folder.parent / given if data.folder.is_file() else data.folder / given
        if not source.exists():
            why = f"is neither a table nor a folder in {source.parent}."
            raise UserError(why, ExitCode.DATA, f"{data.group}.{part}", given)
        return open_source(data, source, part)[0]
    if (place := find_part(data, part)) is not None:
        return open_source(data, place, part)[0]
    tables = list_tables(data.folder)
    if len(tables) > 1:
        raise UserError(
            f"{data.group}.path={data.folder} has several tables, {abbreviate([file.name for file in tables])}: give "
            f"one as {data.group}.path, or name the parts, {data.group}.train=TABLE and {data.group}.test=TABLE.",
            ExitCode.DATA,
        )
    split, divided = open_source(data, tables[0] if tables else data.folder, part)
    return split if divided or data.train is None else divide_split(data, split, part)


def find_part(data: recipes.Captions, part: str) -> Path | None:
    """Return the table or the folder in ``data.path`` with the usual name of a part; None if there is none."""
    if data.folder.is_file():
        return None
    places = {file.stem.casefold(): file for file in list_tables(data.folder)}
    scan = Scan(data.folder)
    places |= {name.casefold(): data.folder / name for name in scan.list_folders() if scan.has_images(name)}
    return next((places[name] for name in PART_NAMES[part] if name in places), None)


def list_tables(folder: Path) -> list[Path]:
    """Return the tables in a folder, or that which is given instead of a folder."""
    if folder.is_file():
        return [folder]
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in TABLE_SUFFIXES and file.name[0] != ".")


def open_source(data: recipes.Captions, source: Path, part: str) -> tuple[Split, bool]:
    """Return the images of a table or of a folder, and whether these are those of the part alone."""
    if source.is_dir():
        listing, left_out = list_text_files(source)
        notes = [f"left out: {left_out}"] if left_out else []
        if not listing.paths:
            raise UserError(
                f"{data.group}.path={source} has no images: give a folder of NAME.jpg and NAME.txt, or a table of "
                "paths and captions.",
                ExitCode.DATA,
            )
        split = replace(open_listing(source, source, listing), notes=tuple(notes))
        require_usable(data, split)
        return split, False
    if source.suffix.lower() not in (*TABLE_SUFFIXES, ".txt"):
        raise UserError(
            f"is not a table: its name must end in {', '.join(TABLE_SUFFIXES)}.",
            ExitCode.DATA,
            f"{data.group}.path",
            str(source),
        )
    listing, notes = read_table(data, source, part)
    if not listing.paths:
        raise UserError(f"{source} has no rows of the {part} part.", ExitCode.DATA)
    base = data.images or source.parent
    split = open_listing(source, base, listing)
    assert split.sizes is not None
    present = (os.path.join(base, path) for path, size in zip(listing.paths, split.sizes) if size >= 0)
    check_places(data, source, present)
    split = replace(split, notes=tuple(notes), location=str(source))
    require_usable(data, split)
    return split, listing.divided


def require_usable(data: recipes.Captions, split: Split) -> None:
    """Raise UserError if no image can be used, with the reason that most of them have."""
    if not len(split) or len(split.unusable) < len(split):
        return
    fault = Counter(split.unusable.values()).most_common(1)[0][0]
    first = next(split.keys[row] for row, reason in split.unusable.items() if reason == fault)
    if not fault.startswith(NO_FILE):
        way_out = "A folder needs a NAME.txt beside each NAME.jpg, a table a column of captions."
        why = f"{typed_override(data)}: no image has a caption that can be read; the first, {first}, {fault} {way_out}"
        raise UserError(why, ExitCode.DATA)
    if is_url(first):
        way_out = "the table names URLs: download them, as with img2dataset, whose shards data=pairs reads"
    else:
        way_out = f"add {data.group}.images=FOLDER, the folder that their paths start from"
    place = split.location or data.path
    raise UserError(
        f"None of the {len(split):,} images of {place} is there, such as {first}: {way_out}.", ExitCode.DATA
    )
