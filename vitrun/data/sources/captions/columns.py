"""The columns of a table that hold images, or their paths, and captions: named, or guessed where that is certain."""

from collections.abc import Sequence

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.errors import ExitCode, UserError, suggest

IMAGE_COLUMNS = (
    "filepath", "file_path", "filename", "file_name", "file", "path", "image", "image_path", "image_name", "img", "jpg",
)  # fmt: skip
CAPTION_COLUMNS = ("caption", "captions", "title", "text", "texts", "sentence", "sentences", "comment", "description",
                   "sentences_raw", "txt")  # fmt: skip


def choose_column(data: recipes.Captions, option: str, columns: Sequence[str], place: str) -> tuple[str, str]:
    """Return the column that ``data.image`` or ``data.caption`` names, and a note if it is a guess.

    A guess is the only column with one of the usual names. Raise UserError if there is no such column, or several.
    """
    value = getattr(data, option)
    usual = IMAGE_COLUMNS if option == "image" else CAPTION_COLUMNS
    hits = [name for name in columns if name == value or value == recipes.AUTO and name.strip().casefold() in usual]
    if len(hits) > 1 and len(set(hits)) == 1:
        raise UserError(f"{place} has {len(hits)} columns named {hits[0]!r}: rename all but one.", ExitCode.DATA)
    if value != recipes.AUTO:
        if value not in columns:
            raise UserError(
                f"is no column of {place}. {suggest(value, columns)}", ExitCode.DATA, f"{data.group}.{option}", value
            )
        return value, ""
    what = "images" if option == "image" else "captions"
    if len(hits) == 1:
        return hits[0], f"the {what} are in the column {hits[0]!r} ({data.group}.{option}), by its name"
    several = f"several columns that may hold {what}, {abbreviate(hits)}" if hits else f"no column of {what} by name"
    raise UserError(
        f"{place} has {several}: add {data.group}.{option}=COLUMN, one of {abbreviate(columns)}.", ExitCode.DATA
    )
