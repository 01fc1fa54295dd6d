"""Images and captions in two columns of the Hub's parquet files, or of Arrow files that ``datasets`` has written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrun import recipes
from vitrun.data.sources.captions.columns import choose_column
from vitrun.data.sources.captions.listing import Listing, make_captioned_split
from vitrun.data.sources.captions.tables import as_captions
from vitrun.data.sources.parquet import files, find
from vitrun.data.sources.parquet.open import open_images
from vitrun.data.sources.parquet.table import make_keys, make_reader
from vitrun.data.sources.parquet.table_types import is_text, may_be_images
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.recipes.data import set_group

if TYPE_CHECKING:
    import pyarrow


def open_captioned_table(data: recipes.Captions, part: str, tick: Callable[[], None]) -> Split:
    """Return a part of a folder of parquet files with a column of images and one of captions.

    Raise UserError if it lacks the split or a column, or if a column holds something else.
    """
    splits = find.find_splits(data.folder, data.config)
    split = find.choose_split(as_files(data), part, splits)
    headers = {path: header for path in splits[split] if (header := files.read_header(path)).rows}
    if not headers:
        raise UserError(f"{data.group}.path={data.path}: its split {split!r} has no images.", ExitCode.DATA)
    image, caption, notes = choose_columns(data, headers)
    table = as_files(data, image, caption)
    images = open_images(table, headers, tick)
    keys, listing = make_keys(images), Listing()
    for key, texts in zip(keys, files.read_column(headers, caption).to_pylist(), strict=True):
        listing.add(key, as_captions(texts))
    read_image = make_reader(table, images, keys)
    return replace(make_captioned_split(keys, read_image, images.sizes, listing), notes=notes)


def assign_splits(data: recipes.Captions, splits: Mapping[str, Sequence[Path]]) -> recipes.Captions:
    """Return the data set with the name of the split of each part.

    A single split is for both parts, unless its name is one for testing.
    """
    only = next(iter(splits)) if len(splits) == 1 else None
    names: dict[str, Any] = {}
    for part in ("train", "test"):
        name = find.find_split_name(as_files(data), part, splits)
        if name is None and getattr(data, part) == recipes.AUTO and only not in find.TEST_NAMES:
            name = only
        if name is not None:
            names[part] = name
    return replace(data, **names)


def as_files(data: recipes.Captions, image: str = "image", label: str = "label") -> recipes.Files:
    """Return the same place as a data set of tables with columns of images and of labels."""
    names = {part: part if getattr(data, part) == recipes.AUTO else getattr(data, part) for part in ("train", "test")}
    shared = {field.name: getattr(data, field.name) for field in fields(recipes.Files) if hasattr(data, field.name)}
    own: dict[str, Any] = {"source": "files", "image": image, "label": label, "labels": "original", "real": None}
    return set_group(recipes.Files(**shared | own | names), data.group)


def choose_columns(data: recipes.Captions, headers: Mapping[Path, files.Header]) -> tuple[str, str, tuple[str, ...]]:
    """Return the columns of images and of captions, and notes if they are guesses.

    Raise UserError if a file lacks one, or if it holds something else.
    """
    path, first = next(iter(headers.items()))
    kinds = {field.name: field.type for field in first.schema}
    images = [name for name, kind in kinds.items() if may_be_images(kind) and not is_text(kind)]
    texts = [name for name, kind in kinds.items() if holds_captions(kind)]
    notes, chosen = [], []
    for option, candidates in (("image", images), ("caption", texts)):
        if getattr(data, option) == recipes.AUTO and len(candidates) == 1:
            chosen.append(candidates[0])
            continue
        name, note = choose_column(data, option, [*kinds], path.name)
        notes += [note] if note else []
        chosen.append(name)
    image, caption = chosen
    for name, what, fits in (("image", "images", may_be_images), ("caption", "captions", holds_captions)):
        column = image if name == "image" else caption
        if not fits(kinds[column]):
            raise UserError(
                f"{path.name} has {str(kinds[column])[:60]} in this column instead of {what}: name another.",
                ExitCode.DATA,
                f"{data.group}.{name}",
                column,
            )
    for other, header in headers.items():
        if missing := {image, caption} - {*header.schema.names}:
            raise UserError(f"{other} has no column {min(missing)!r}, which {path.name} has.", ExitCode.DATA)
    return image, caption, tuple(notes)


def holds_captions(kind: "pyarrow.DataType") -> bool:
    """Return whether a type of column can hold captions: a text, or a list of them."""
    import pyarrow.types as types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_text(kind.value_type if is_list else kind)
