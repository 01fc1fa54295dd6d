"""Tables in ``conf/``: the config groups of each command, their files, and their rows."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from vitrun import recipes
from vitrun.errors import UserError, find_close_names, lookup
from vitrun.recipes import RECIPES, composition, options
from vitrun.recipes.base import describe_value_error, discriminator_of
from vitrun.recipes.trees import format_value

T = TypeVar("T")
# Groups whose files lie elsewhere than in the folder of their name
GROUP_FOLDERS = {"against": "data", "unlabelled": "data"}
DATA_GROUPS = ("data", *GROUP_FOLDERS)  # options that choose a data set
# By source: the row of a data set that no file describes
OWN_ROWS = {"files": "folder", **{name: name for name in ("table", "captions", "coco", "shards", "pairs")}}
# Rows of conf/data for any set, whose ``data.name`` may be chosen
UNNAMED_ROWS = ("folder", "parquet", "table", "captions", "coco", "shards", "pairs")
ROWS_AT_ONCE = 8  # composed together; one at a time, and 80, take twice as long
ROW_METADATA = {"model": ("paper", "weights")}  # keys of rows that are not options: the fields of ``ModelInfo``


def list_groups(command: str) -> dict[str, dict[str, str]]:
    """Return the config groups of a command: ``{"model": {"vit_b16": "its first comment line", ...}, ...}``."""
    return list_groups_in(command, tuple(composition.config_folders()))


@cache
def list_groups_in(command: str, folders: tuple[Path, ...]) -> dict[str, dict[str, str]]:
    """Return :func:`list_groups` of these folders, read once."""
    names = sorted(field.name for field in fields(RECIPES[command]))
    groups = {name: list_group_files(group_folder(name)) for name in names}
    if "protocol" in groups:  # a file lists the commands it is for
        rows, _ = sound_rows(groups["protocol"], lambda name: composition.read_config_file(f"protocol/{name}"))
        groups["protocol"] = {
            name: groups["protocol"][name]
            for name, row in rows.items()
            if not isinstance(commands := row.get("commands"), list) or command in commands  # wrong ones are reported
        }
    return {
        group: {name: composition.read_header(f"{group_folder(group)}/{name}") for name in files}
        for group, files in groups.items()
        if files
    }


def group_folder(group: str) -> str:
    """Return the folder of ``conf/`` with the files of a group."""
    return GROUP_FOLDERS.get(group, group)


def list_group_files(folder: str) -> dict[str, Path]:
    """Return the files in a folder of ``conf/`` by name, as ``vtab/pets`` for a nested one."""
    return composition.list_config_names(folder)


# Choices beside which a row is read: an objective may replace the model
CHOSEN = {"objective": ("+model=vit_nano8",)}


def read_row(group: str, name: str) -> dict[str, Any]:
    """Return the options of ``conf/<group>/<name>.yaml`` and of the files that it inherits from, without metadata.

    Raise UserError if there is no such file, or if Hydra cannot compose it.
    """
    lookup(list_group_files(group), name, group)
    place = composition.format_config_path(f"{group}/{name}")
    try:
        row = composition.compose(None, [*CHOSEN.get(group, ()), f"+{group}@row={name}"]).get("row")
    except composition.CompositionError as error:
        raise UserError(f"{place} is not valid: {' '.join(str(error).split())}") from None
    if not isinstance(row, dict):
        raise UserError(f"{place} is not valid: it sets no options of {group}.")
    return drop_metadata(group, row)


def read_rows(group: str) -> dict[str, dict[str, Any]]:
    """Return :func:`read_row` of every file of a group.

    Own files that are not rows are left out: a folder ``conf`` may have been made for something else too.
    """
    files = [*list_group_files(group).items()]
    rows: dict[str, dict[str, Any]] = {}
    for first in range(0, len(files), ROWS_AT_ONCE):
        rows |= compose_rows(group, dict(files[first : first + ROWS_AT_ONCE]))
    return rows


def compose_rows(group: str, files: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Return :func:`read_row` of some files of a group, composed together."""
    try:
        rows = composition.compose(
            None, [*CHOSEN.get(group, ()), *(f"+{group}@row{number}={name}" for number, name in enumerate(files))]
        )
        return {name: drop_metadata(group, rows[f"row{number}"]) for number, name in enumerate(files)}
    except (composition.CompositionError, UserError, KeyError, AttributeError):  # one by one, to find out which
        return sound_rows(files, lambda name: read_row(group, name))[0]


def sound_rows(files: dict[str, Path], load_row: Callable[[str], T]) -> tuple[dict[str, T], list[UserError]]:
    """Return ``load_row(name)`` for each name, and the errors of own files; raise that of a file of vitrun."""
    rows, errors = {}, []
    for name, file in files.items():
        try:
            rows[name] = load_row(name)
        except UserError as error:
            if not composition.is_own(file):
                raise
            errors.append(error)
    return rows, errors


def load_rows(group: str, kind: Any) -> tuple[dict[str, Any], list[UserError]]:
    """Return the rows of a group as instances of ``kind``, and the errors of own files that are none."""
    rows = read_rows(group)

    def load(name: str) -> Any:
        return check_row(kind, group, name, rows[name] if name in rows else read_row(group, name))

    return sound_rows(list_group_files(group), load)


def drop_metadata(group: str, row: object) -> Any:
    """Return the options of a row without the metadata of its group; anything but a row as it is."""
    if not isinstance(row, dict):
        return row
    return {key: value for key, value in row.items() if key not in ROW_METADATA.get(group, ())}


def load_model_rows() -> dict[str, Any]:
    """Return the model table: one row for each file of ``conf/model``."""
    return load_rows("model", recipes.Model)[0]


def load_model_row(name: str) -> recipes.Model:
    """Return the model that ``conf/model/<name>.yaml`` describes."""
    return check_row(recipes.Model, "model", name, read_row("model", name))


def load_model_info(name: str) -> recipes.ModelInfo:
    """Return the metadata of ``conf/model/<name>.yaml``: the model's name in papers and its published weights.

    They are the file's own: a model that inherits from another is not published with it.
    """
    row = composition.read_config_file(f"model/{name}")
    metadata = {key: row[key] for key in ROW_METADATA["model"] if key in row}
    return check_row(recipes.ModelInfo, "model", name, metadata)


def check_row(kind: Any, group: str, name: str, tree: dict[str, Any]) -> Any:
    """Return ``tree``, read from a file of a group, as an instance of ``kind``; raise UserError if it is not valid."""
    row = validate_row(kind, tree, composition.format_config_path(f"{group}/{name}"))
    check_row_name(group, name, tree)
    return row


def check_row_name(group: str, name: str, row: object) -> None:
    """Raise a UserError if a row has another name than its file; a model of timm has the name that timm gives it."""
    if isinstance(row, dict) and row.get("kind") != "timm" and row.get("name", name) != name:
        place = composition.format_config_path(f"{group}/{name}")
        raise UserError(f"{place} has the name {row['name']}: write name: {name}")


def validate_row(kind: Any, tree: dict[str, Any], place: str) -> Any:
    """Return ``tree`` as an instance of ``kind``. Raise a UserError that names ``place`` if it is not valid."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        known = list(dict.fromkeys(field.name for part in options.flatten_union(kind) for field in fields(part)))
        raise UserError(f"{place} is not valid: {explain_error(dict(error.errors()[0]), known)}") from None


def explain_error(error: Mapping[str, Any], known: list[str]) -> str:
    """Return what is wrong with a row by pydantic's error, with the nearest ``known`` options for an unknown one."""
    names = [part for part in error["loc"] if isinstance(part, str)]  # without indices of lists
    option, kind = names[-1] if names else "", error["type"]
    if kind == "unexpected_keyword_argument":
        near = find_close_names(option, known)
        return f"unknown option {option!r}." + (f" Did you mean {' or '.join(near)}?" if near else "")
    if kind == "missing" and option == error["loc"][-1]:
        return f"{option} is missing."
    if kind == "value_error":  # of a check of the recipe, whose error names the option
        return str(error["ctx"]["error"])
    if kind == "union_tag_not_found":
        return f"{discriminator_of(error)} is missing."
    if kind == "union_tag_invalid":
        return f"{discriminator_of(error)}={error['ctx']['tag']}: {describe_value_error(error)}"
    return f"{option}={format_value(error['input'])}: {describe_value_error(error)}"


def check_own_row(command: str, group: str, name: str) -> None:
    """Raise a UserError that names the file if ``group=name`` of a command is an own file, and no sound row."""
    folder = group_folder(group)
    if group != "protocol" and composition.is_own(composition.find_config_file(f"{folder}/{name}")):
        kind = get_type_hints(RECIPES[command], include_extras=True)[group]
        check_row(kind, folder, name, read_row(folder, name))


def load_data_row(name: str, **changes: Any) -> recipes.Data:
    """Return the data set that ``conf/data/<name>.yaml`` describes, with some values changed."""
    return check_row(recipes.Data, "data", name, read_row("data", name) | changes)


def find_data_row(data: Mapping[str, Any]) -> str:
    """Return the name of the row of ``conf/data`` of a data set, also if it is an own set with a name of its own."""
    name = str(data["name"])
    own = OWN_ROWS.get(str(data.get("source")))
    return name if own is None or name in list_group_files("data") else own
