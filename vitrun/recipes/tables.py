"""The tables in ``conf/``: the config groups of each command, their files, and their rows."""

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import vitrun
from vitrun import recipes
from vitrun.errors import Mistake, pick
from vitrun.recipes import RECIPES

HERE = Path(vitrun.__file__).parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # wheel, else checkout
# The groups whose files lie elsewhere than in the folder of their name, in some for each verb.
FOLDERS = {"against": "data", "protocol": "protocol/{verb}"}


@cache
def groups(verb: str) -> dict[str, dict[str, str]]:
    """The config groups a verb can choose from: ``{"model": {"vit_b16": "its first comment line", ...}, ...}``."""
    names = sorted(f.name for f in fields(RECIPES[verb]))
    found = {name: group_files(folder(verb, name)) for name in names if (CONF / folder(verb, name)).is_dir()}
    return {group: {name: header(file) for name, file in files.items()} for group, files in found.items()}


def folder(verb: str, group: str) -> str:
    """The folder of ``conf/`` that holds the files of a group."""
    return FOLDERS.get(group, group).format(verb=verb)


def header(file: Path) -> str:
    """The first comment line of a YAML file, but for the one that Hydra reads; empty where it begins without any."""
    lines = file.read_text(encoding="utf-8").removeprefix("# @package _global_\n").partition("\n")
    return lines[0].removeprefix("#").strip() if lines[0].startswith("#") else ""


def group_files(folder: str) -> dict[str, Path]:
    """The files of a config group by name; ``vtab/pets`` for one in a folder of the group, after those outside."""
    place = CONF / folder
    files = sorted(place.rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    return {file.relative_to(place).with_suffix("").as_posix(): file for file in files}


def read_file(path: str) -> dict:
    """The plain values of ``conf/<path>.yaml``."""
    return yaml.safe_load((CONF / f"{path}.yaml").read_text(encoding="utf-8")) or {}


def read_row(group: str, name: str) -> dict:
    """The plain values of ``conf/<group>/<name>.yaml``."""
    pick(group_files(group), name, group)
    return read_file(f"{group}/{name}")


def model_rows() -> dict[str, Any]:
    """The model table: one row for each file of ``conf/model``."""
    return {name: model_row(name) for name in group_files("model")}


def model_row(name: str) -> Any:
    """The row that ``conf/model/<name>.yaml`` describes."""
    return checked_row(read_row("model", name), f"conf/model/{name}.yaml")


def checked_row(tree: dict, place: str) -> Any:
    """The row of the model table that a plain tree describes; a Mistake that names its ``place`` where not."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(recipes.Model).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise Mistake(f"{place} is unsound: {'.'.join(map(str, first['loc']))} {first['msg']}") from None


def data_row(name: str, **changes: Any) -> recipes.Files:
    """The data set of images in files that ``conf/data/<name>.yaml`` describes, with some values changed."""
    from pydantic import TypeAdapter

    return TypeAdapter(recipes.Files).validate_python(read_row("data", name) | changes)
