"""Arguments of ``vitrun data``: the name of a data set without a key, and the options of that data set."""

import re
from collections.abc import Sequence
from typing import Any

from vitrun.errors import UserError, lookup
from vitrun.recipes import tables

VTAB = "vtab"  # names all rows whose names begin with it
BARE_NAME = re.compile(r"[A-Za-z][^=]*")


def list_datasets() -> dict[str, str]:
    """Return every name that may be typed, with the header of its file."""
    return {**tables.list_groups("data")["data"], VTAB: "the nineteen tasks of VTAB-1k"}


def expand_bare_name(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of ``vitrun data [NAME] [data.KEY=VALUE]...``, the bare name replaced by choices."""
    overrides = list(overrides)
    if overrides and BARE_NAME.fullmatch(overrides[0]):
        overrides[0] = f"name={overrides[0]}"
    name = next((override.removeprefix("name=") for override in overrides if override.startswith("name=")), "null")
    own = [override for override in overrides if re.match(r"data[.=]", override)]
    if name == "null":
        if own:
            raise UserError(f"{own[0]} is about one data set: name it first, as in `vitrun data folder`.")
        return overrides
    lookup(names := list_datasets(), name, "data set")
    row = next(row for row in names if row.startswith(f"{VTAB}/")) if name == VTAB else name
    if len(overrides) > 1 and overrides[1] in names:
        raise UserError(f"{name} and {overrides[1]}: name one data set, or none for all.")
    return [*(override for override in overrides if override != f"data={row}"), f"data={row}"]


def select_dataset(overrides: Sequence[str], tree: dict[str, Any]) -> dict[str, Any] | None:
    """Return the options of the data set to look into; None to show its row.

    It is looked into if an override is about its options, or if its row has a path.

    Raise a UserError if they do not name a folder, or if they set anything but that for all tasks of VTAB at once.
    """
    own = [override for override in overrides if override.startswith("data.")]
    data: dict[str, Any] | None = tree.get("data")
    show = tree["show"]
    if show and (data is None or tree["name"] == VTAB):
        task = " or one task" if data else ""
        why = f"makes a page of the images of one data set: name it{task} first, as in `vitrun data digits show=16`."
        raise UserError(why, option="show", value=str(show))
    if data is None or not (own or show or data.get("path")):
        return None
    if tree["name"] == VTAB:
        row = tables.read_row("data", data["name"])
        if other := next((key for key in row if key != "root" and data[key] != row[key]), None):
            raise UserError(f"data.{other} is an option of one task: name that, as in vitrun data {row['name']}.")
        if not data["root"]:
            raise UserError("vitrun data vtab needs the folder of the originals: add data.root=FOLDER.")
    elif own and not show and "path" in data and not (data["path"] or data.get("root")):
        raise UserError(f"{own[0]} needs a folder to look into: add data.path=FOLDER.")
    return data
