"""The tables in ``conf/``: the config groups of each command, their files, and their rows."""

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.errors import UserError, lookup
from vitrun.recipes import RECIPES, composition

# The groups whose files lie elsewhere than in the folder of their name, in some for each command.
GROUP_FOLDERS = {"against": "data", "protocol": "protocol/{command}"}
ROW_METADATA = {"model": ("paper", "weights")}  # keys of rows that are no options: the fields of ``ModelInfo``


def list_groups(command: str) -> dict[str, dict[str, str]]:
    """Return the config groups of a command: ``{"model": {"vit_b16": "its first comment line", ...}, ...}``."""
    return list_groups_in(command, tuple(composition.config_folders()))


@cache
def list_groups_in(command: str, folders: tuple[Path, ...]) -> dict[str, dict[str, str]]:
    """Return :func:`list_groups` of these folders, read once."""
    names = sorted(field.name for field in fields(RECIPES[command]))
    groups = {name: list_group_files(group_folder(command, name)) for name in names}
    return {
        group: {name: composition.read_header(f"{group_folder(command, group)}/{name}") for name in files}
        for group, files in groups.items()
        if files
    }


def group_folder(command: str, group: str) -> str:
    """Return the folder of ``conf/`` that holds the files of a group."""
    return GROUP_FOLDERS.get(group, group).format(command=command)


def list_group_files(folder: str) -> dict[str, Path]:
    """Return the files in a folder of ``conf/`` by name, as ``vtab/pets`` for a nested one."""
    return composition.list_config_names(folder)


def read_row(group: str, name: str) -> dict:
    """Return the options of ``conf/<group>/<name>.yaml`` and of the files that it inherits from, without metadata.

    Raise UserError if there is no such file, or if Hydra cannot compose it.
    """
    lookup(list_group_files(group), name, group)
    try:
        row = composition.compose(None, [f"+{group}@row={name}"])["row"]
    except composition.CompositionError as error:
        raise UserError(f"conf/{group}/{name}.yaml is unsound: {' '.join(str(error).split())}") from None
    return drop_metadata(group, row)


def read_rows(group: str) -> dict[str, dict]:
    """Return :func:`read_row` of every file of a group, composed at once in half a second."""
    names = list(list_group_files(group))
    try:
        rows = composition.compose(None, [f"+{group}@row{number}={name}" for number, name in enumerate(names)])
    except composition.CompositionError:  # one by one, to say which
        return {name: read_row(group, name) for name in names}
    return {name: drop_metadata(group, rows[f"row{number}"]) for number, name in enumerate(names)}


def drop_metadata(group: str, row: Any) -> Any:
    """Return the options of a row without the metadata of its group; anything but a row as it is."""
    if not isinstance(row, dict):
        return row
    return {key: value for key, value in row.items() if key not in ROW_METADATA.get(group, ())}


def load_model_rows() -> dict[str, Any]:
    """Return the model table: one row for each file of ``conf/model``."""
    return {name: check_model_row(row, f"conf/model/{name}.yaml") for name, row in read_rows("model").items()}


def load_model_row(name: str) -> Any:
    """Return the model that ``conf/model/<name>.yaml`` describes."""
    return check_model_row(read_row("model", name), f"conf/model/{name}.yaml")


def load_model_info(name: str) -> recipes.ModelInfo:
    """Return the metadata of ``conf/model/<name>.yaml``: the model's name in papers and its published weights.

    They are the file's own: a model that inherits from another is not published with it.
    """
    row = composition.read_config_file(f"model/{name}")
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


def load_data_rows() -> dict[str, recipes.Data]:
    """Return the data sets that the files of ``conf/data`` describe."""
    rows = read_rows("data").items()
    return {name: validate_row(recipes.Data, row, f"conf/data/{name}.yaml") for name, row in rows}


def load_data_row(name: str, **changes: Any) -> recipes.Data:
    """Return the data set that ``conf/data/<name>.yaml`` describes, with some values changed."""
    return validate_row(recipes.Data, read_row("data", name) | changes, f"conf/data/{name}.yaml")
