"""What is typed after ``vitrun data``: the bare name of a row of the table, and the options of that data set."""

import re
from collections.abc import Sequence

from vitrun.errors import Mistake, pick
from vitrun.recipes import tables

VTAB = "vtab"  # stands for all rows that begin so
NAME = re.compile(r"[A-Za-z][^=]*")


def named() -> dict[str, str]:
    """Every name that may be typed, with what it stands for."""
    return {**tables.groups("data")["data"], VTAB: "the nineteen tasks of VTAB-1k"}


def spelt(words: Sequence[str]) -> list[str]:
    """The words of ``vitrun data [NAME] [data.KEY=VALUE]...`` with the bare name as the choices that it stands for."""
    words = list(words)
    if words and NAME.fullmatch(words[0]):
        words[0] = f"name={words[0]}"
    name = next((word.removeprefix("name=") for word in words if word.startswith("name=")), "null")
    own = [word for word in words if re.match(r"data[.=]", word)]
    if name == "null":
        if own:
            raise Mistake(f"{own[0]} is about one data set: name it first, as in vitrun data folder data.path=FOLDER")
        return words
    pick(names := named(), name, "data set")
    row = next(row for row in names if row.startswith(f"{VTAB}/")) if name == VTAB else name
    if len(words) > 1 and words[1] in names:
        raise Mistake(f"{name} and {words[1]}: name one data set, or none for all.")
    return [*(word for word in words if word != f"data={row}"), f"data={row}"]


def place(words: Sequence[str], tree: dict) -> dict | None:
    """The options of the data set to look into; None where no word is about them, for then its row is shown.

    A Mistake where they do not say which folder. That of VTAB's originals is all that its tasks can be told at once.
    """
    own, data = [word for word in words if word.startswith("data.")], tree.get("data")
    if not own:
        return None
    if tree["name"] == VTAB:
        row = tables.read_row("data", data["name"])
        if other := next((key for key in row if key != "root" and data[key] != row[key]), None):
            raise Mistake(f"data.{other} is an option of one task: name that, as in vitrun data {row['name']}")
        if not data["root"]:
            raise Mistake("vitrun data vtab needs the folder of the originals to look into: add data.root=FOLDER")
    elif "path" in data and not (data["path"] or data.get("root")):
        raise Mistake(f"{own[0]} needs a folder to look into: add data.path=FOLDER")
    return data
