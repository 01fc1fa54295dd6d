"""A split whose images lie in a table: parquet files, or Arrow files that ``datasets`` has written."""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vitrun import recipes
from vitrun.data.labels import pad_labels
from vitrun.data.sources.messages import typed_override
from vitrun.data.sources.named_files import find_outside
from vitrun.data.sources.parquet.label_column import ClassLabels
from vitrun.data.sources.parquet.table_types import is_text
from vitrun.data.split import BadImage, Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import MAX_BYTES, read_regular_file

if TYPE_CHECKING:
    import pyarrow

BASE64_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")  # of image files
MOST_KEY = 200  # letters of a path that may be part of a key


@dataclass(frozen=True)
class Images:
    """The N images of a table."""

    read: Callable[[int], bytes | None]  # the bytes of an image, None if the table has only a path to it
    sizes: np.ndarray  # [N] int64, in bytes; -1 if the table has only a path
    paths: Sequence[str | None]  # [N]
    with_folders: bool = True  # whether keys have the folders of paths, or only the names of the files


def make_split(data: recipes.Files, images: Images, labels: ClassLabels, real: list[list[int]] | None) -> Split:
    """Return a table as a split that reads the bytes of an image on access; ``real`` are its labels of ReaL, if any."""
    keys = make_keys(images)
    return Split(
        keys,
        labels.values,
        labels.classes,
        read_encoded=make_reader(data, images, keys),
        accepted=None if real is None else pad_labels(real),
        sizes=images.sizes,
        notes=labels.notes,
    )


def make_keys(images: Images) -> list[str]:
    """Return ROW/NAME of each image: names may repeat, rows do not."""
    names = images.paths if images.with_folders else [path and Path(path).name for path in images.paths]
    return [f"{row:08d}/{name or ''}" for row, name in enumerate(names)]


def make_reader(data: recipes.Files, images: Images, keys: Sequence[str]) -> Callable[[int], bytes]:
    """Return a function that reads the bytes of an image; raise UserError if the column holds no images."""
    check_not_base64(data, images)

    def read_bytes(index: int) -> bytes:
        if (size := int(images.sizes[index])) > MAX_BYTES:
            raise BadImage(f"{keys[index]} has {size / 1e6:,.0f} MB, too many for an image.", ExitCode.DATA)
        image = images.read(index)
        return image if image is not None else read_linked_image(data, keys[index], images.paths[index])

    return read_bytes


def check_not_base64(data: recipes.Files, images: Images) -> None:
    """Raise UserError if the column of images holds the text of images instead of paths to them."""
    row = next((row for row, size in enumerate(images.sizes) if size < 0 and images.paths[row]), None)
    text = (images.paths[row] or "") if row is not None else ""
    what = None
    if text.startswith("data:") or is_base64_image(text):
        what = "base64 text: decode it to bytes and save it as a binary column"
    elif text.startswith(("http://", "https://")):
        what = "URLs: download the images, for example with img2dataset"
    elif len(text) > MOST_KEY or "\n" in text:
        what = f"text that is not a path ({text[:40]!r}...): name the column of images, {data.group}.image=COLUMN"
    if what:
        raise UserError(f"{typed_override(data)}: the column {data.image!r} holds {what}.", ExitCode.DATA)


def is_base64_image(text: str) -> bool:
    """Return whether a text begins as the base64 code of an image does."""
    try:
        return len(text) >= 16 and base64.b64decode(text[:16], validate=True).startswith(BASE64_STARTS)
    except ValueError:
        return False


def read_linked_image(data: recipes.Files, key: str, path: str | None) -> bytes:
    """Return the bytes of an image that is stored outside its table, at ``path`` (from ``data.folder``, or absolute).

    Raise BadImage if the table has no path. Raise UserError if there is no such file, if it is a device or too large,
    or if it is outside the folder of a user's own data set: a run is identified by the files in that folder.
    """
    if path is None:
        raise BadImage(f"{key} is not a readable image: its row in the table is empty. Remove that row.", ExitCode.DATA)
    try:
        image = read_regular_file(data.folder / path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{key}: the table has only a path to this image, which cannot be read: {error}. Put the image there, or "
            "save the table with the images in it.",
            ExitCode.DATA,
        ) from None
    if data.hub is None and find_outside([data.folder], [os.path.join(data.folder, path)]):
        why = f"is outside of {data.folder}, so that a change of it would go unnoticed"
        raise UserError(f"{key} {why}: copy or link it below that folder, or save it in the table.", ExitCode.DATA)
    return image


def images_of_column(column: "pyarrow.ChunkedArray") -> Images:
    """Return the images of a column in memory or memory-mapped: bytes, a path, or a struct of both."""
    import pyarrow
    import pyarrow.compute as compute

    kind = column.type
    bytes_, paths = column, None
    if pyarrow.types.is_struct(kind):
        names = {kind.field(n).name for n in range(kind.num_fields)}
        bytes_ = compute.struct_field(column, "bytes") if "bytes" in names else None
        paths = compute.struct_field(column, "path").to_pylist() if "path" in names else None
    elif is_text(kind):
        bytes_, paths = None, column.to_pylist()
    missing = [None] * len(column)
    if bytes_ is None or pyarrow.types.is_null(bytes_.type):
        return Images(lambda row: None, np.full(len(column), -1, np.int64), paths or missing)
    sizes = compute.fill_null(compute.binary_length(bytes_), -1).to_numpy().astype(np.int64)
    encoded = bytes_
    return Images(lambda row: encoded[row].as_py(), sizes, paths or missing)
