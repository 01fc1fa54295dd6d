"""The tables in ``conf/``: the config groups of each command, their files, and their rows."""

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import vitrun
from vitrun import recipes
from vitrun.errors import UserError, lookup
from vitrun.recipes import RECIPES

PACKAGE = Path(vitrun.__file__).parent
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"  # wheel, else checkout
# The groups whose files lie elsewhere than in the folder of their name, in some for each command.
GROUP_FOLDERS = {"against": "data", "protocol": "protocol/{command}"}
ROW_METADATA = {"model": ("paper", "weights")}  # keys of rows that are no options: the fields of ``ModelInfo``


@cache
def list_groups(command: str) -> dict[str, dict[str, str]]:
    """The config groups a command can choose from: ``{"model": {"vit_b16": "its first comment line", ...}, ...}``."""
    names = sorted(f.name for f in fields(RECIPES[command]))
    found = {
        name: list_group_files(group_folder(command, name))
        for name in names
        if (CONF / group_folder(command, name)).is_dir()
    }
    return {group: {name: read_header(file) for name, file in files.items()} for group, files in found.items()}


def group_folder(command: str, group: str) -> str:
    """The folder of ``conf/`` that holds the files of a group."""
    return GROUP_FOLDERS.get(group, group).format(command=command)


def read_header(file: Path) -> str:
    """The first comment line of a YAML file, but for the one that Hydra reads; empty where it begins without any."""
    lines = file.read_text(encoding="utf-8").removeprefix("# @package _global_\n").partition("\n")
    return lines[0].removeprefix("#").strip() if lines[0].startswith("#") else ""


def list_group_files(folder: str) -> dict[str, Path]:
    """The files of a config group by name; ``vtab/pets`` for one in a folder of the group, after those outside."""
    place = CONF / folder
    files = sorted(place.rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    return {file.relative_to(place).with_suffix("").as_posix(): file for file in files}


def read_conf_file(path: str) -> dict:
    """The plain values of ``conf/<path>.yaml``."""
    return yaml.safe_load((CONF / f"{path}.yaml").read_text(encoding="utf-8")) or {}


def read_row(group: str, name: str) -> dict:
    """Return the options of ``conf/<group>/<name>.yaml`` as plain values, without the group's metadata."""
    lookup(list_group_files(group), name, group)
    row = read_conf_file(f"{group}/{name}")
    return {key: value for key, value in row.items() if key not in ROW_METADATA.get(group, ())}


def load_model_rows() -> dict[str, Any]:
    """Return the model table: one row for each file of ``conf/model``."""
    return {name: load_model_row(name) for name in list_group_files("model")}


def load_model_row(name: str) -> Any:
    """Return the model that ``conf/model/<name>.yaml`` describes."""
    return check_model_row(read_row("model", name), f"conf/model/{name}.yaml")


def load_model_info(name: str) -> recipes.ModelInfo:
    """Return the metadata of ``conf/model/<name>.yaml``: the model's name in papers and its published weights."""
    row = read_conf_file(f"model/{name}")
    metadata = {key: row[key] for key in ROW_METADATA["model"] if key in row}
    return validate_row(recipes.ModelInfo, metadata, f"conf/model/{name}.yaml")


def check_model_row(tree: dict, place: str) -> Any:
    """Return the model that a plain tree describes. Raise a UserError that names ``place`` if it is not valid."""
    return validate_row(recipes.Model, tree, place)


def validate_row(kind: Any, tree: dict, place: str) -> Any:
    """Return ``tree`` as an instance of ``kind``. Raise a UserError that names ``place`` if it is not valid."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{place} is unsound: {'.'.join(map(str, first['loc']))} {first['msg']}") from None


def load_data_row(name: str, **changes: Any) -> recipes.Files:
    """The data set of images in files that ``conf/data/<name>.yaml`` describes, with some values changed."""
    from pydantic import TypeAdapter

    return TypeAdapter(recipes.Files).validate_python(read_row("data", name) | changes)
