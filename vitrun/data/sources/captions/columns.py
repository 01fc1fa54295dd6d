"""The columns of a table that hold images, or their paths, and texts: named, or guessed where that is certain."""

from collections.abc import Sequence

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.errors import ExitCode, UserError, suggest

IMAGE_COLUMNS = (
    "filepath", "file_path", "filename", "file_name", "file", "path", "image", "image_path", "image_name", "img", "jpg",
)  # fmt: skip
CAPTION_COLUMNS = ("caption", "captions", "title", "text", "texts", "sentence", "sentences", "comment", "description",
                   "sentences_raw", "txt")  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "classname", "category", "species", "target")
ID_COLUMNS = ("id", "image_id", "imageid", "img_id", "filenames", "filepaths", "name")  # of images with labels
USUAL = {"image": IMAGE_COLUMNS, "caption": CAPTION_COLUMNS, "label": LABEL_COLUMNS}
TableData = recipes.Captions | recipes.Table


def choose_column(data: TableData, option: str, columns: Sequence[str], place: str) -> tuple[str, str]:
    """Return the column that an option (``image``, ``caption`` or ``label``) names, and a note if it is a guess.

    A guess is the only column with one of the usual names; of images with labels it may be that of their ids. Raise
    UserError if there is no such column, or several.
    """
    value = getattr(data, option)
    hits = find_columns(value, columns, USUAL[option])
    if not hits and option == "image" and isinstance(data, recipes.Table):
        hits = find_columns(value, columns, ID_COLUMNS)
    if len(hits) > 1 and len(set(hits)) == 1:
        raise UserError(f"{place} has {len(hits)} columns named {hits[0]!r}: rename all but one.", ExitCode.DATA)
    if value != recipes.AUTO:
        if value not in columns:
            raise UserError(
                f"is not a column of {place}. {suggest(value, columns)}", ExitCode.DATA, f"{data.group}.{option}", value
            )
        return value, ""
    what = f"{option}s"
    if len(hits) == 1:
        return hits[0], f"the {what} are in the column {hits[0]!r} ({data.group}.{option}), by its name"
    several = f"several columns that may hold {what}, {abbreviate(hits)}" if hits else f"no column of {what} by name"
    raise UserError(
        f"{place} has {several}: add {data.group}.{option}=COLUMN, one of {abbreviate(columns)}.", ExitCode.DATA
    )


def find_columns(value: str, columns: Sequence[str], usual: Sequence[str]) -> list[str]:
    """Return the columns named ``value``, or with one of the usual names if that is ``auto``."""
    return [name for name in columns if name == value or value == recipes.AUTO and name.strip().casefold() in usual]
