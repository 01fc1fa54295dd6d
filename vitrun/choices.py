"""What a verb can be told: its config groups and their files, its options and their types, and values as text."""

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from vitrun import recipe as recipes
from vitrun.mistakes import Mistake, pick
from vitrun.recipe import RECIPES

HERE = Path(__file__).parent
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


@cache
def options(verb: str) -> dict[str, Any]:
    """Every dotted option that some choice of groups gives a verb, with its type."""
    return dict(typed(RECIPES[verb]))


def typed(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, kind in get_type_hints(cls).items():
        for part in (parts := alternatives(kind)):
            if is_dataclass(part):
                yield from typed(part, f"{prefix}{name}.")
        if not all(is_dataclass(part) for part in parts):
            yield f"{prefix}{name}", kind


def alternatives(kind: Any) -> list[Any]:
    """The members of a union of types, looking through annotations; none of them None."""
    if get_origin(kind) is Annotated:
        return alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [part for member in get_args(kind) for part in alternatives(member)]
    return [] if kind is type(None) else [kind]


def is_list(verb: str, key: str) -> bool:
    """Whether commas make a list of this option (and not a sweep)."""
    return any(get_origin(part) is tuple for part in alternatives(options(verb).get(key)))


def allowed(verb: str, key: str) -> list[str]:
    """The words that this option takes, where it takes no others but true, false, numbers and null."""
    found = [get_args(part) for part in alternatives(options(verb).get(key)) if get_origin(part) is Literal]
    return [show_value(word) for words in found for word in words]


def is_text(verb: str, key: str) -> bool:
    """Whether this option takes free text."""
    kinds = alternatives(options(verb).get(key))
    return bool(kinds) and all(part in (str, Path) for part in kinds)


def leaves(tree: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all values in a tree of options."""
    for key, value in tree.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{prefix}{key}.")
        elif key != "defaults":
            yield f"{prefix}{key}"


def reach(tree: dict, key: str) -> Any:
    """The value at a dotted name."""
    for part in key.split("."):
        tree = tree[part]
    return tree


def show_value(value: Any) -> str:
    """A value as it is typed in a word."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(show_value, value))}]"
    text = str(value)
    return f"'{text}'" if set(text) & set(",[](){}") else text  # which would make lists of it, and sweeps


def plain(recipe: Any) -> dict:
    """A recipe as a tree of plain values, as YAML and JSON write it."""
    return {key: plain_value(value) for key, value in asdict(recipe).items()}


def plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain_value(v) for key, v in value.items()}
    if isinstance(value, tuple):
        return [plain_value(v) for v in value]
    return str(value) if isinstance(value, Path) else value
