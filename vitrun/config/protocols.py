"""Choose the protocol of a run, and what its files set for one model.

Beside options, files of ``conf/protocol`` and ``conf/recipe`` have metadata, which is removed from the composed tree:

- ``commands``: those that a protocol is for;
- ``for_data``: patterns of data sets that the protocol's own file is for; others need a file in ``conf/recipe``. A set
  with boxes has to be named there for fine-tuning: ``*`` is any with labels;
- ``by_model``: ``{"vit_b16 vit_b32": {option: value, ...}, ...}``, over the values of the files; in an entry, ``about``
  is shown with the recipe, and the name of a group chooses in it, as in ``augment: light1``;
- ``other_models``: a note that is shown for models in no entry, or ``refused``;
- ``published``: overrides that the paper ran too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from vitrun.errors import UserError, lookup
from vitrun.recipes import composition, tables, trees
from vitrun.recipes.base import frozen_dataclass
from vitrun.recipes.data import OPTIONS

Variant = Annotated[str, Field(pattern=r"^\S+=\S+( \S+=\S+)*$")]  # overrides that belong together


@frozen_dataclass
class Metadata:
    """Keys of a file that are not options."""

    commands: tuple[str, ...] | None = None
    for_data: tuple[str, ...] = ()
    by_model: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    other_models: str | None = None
    published: tuple[Variant, ...] = ()


METADATA_KEYS = tuple(entry.name for entry in fields(Metadata))
MODEL_METADATA_KEYS = ("about", "published")  # of an entry of by_model
REFUSED = "refused"
# By command: the protocol if none is named and that of the command's file has no recipe
FALLBACK_PROTOCOLS = {"pretrain": "small", "finetune": "quick_boxes"}


class Choice(NamedTuple):
    """Selection of a recipe: a protocol, a data set, and a model if the command chooses one."""

    protocol: str
    data: str
    model: str | None

    def __str__(self) -> str:
        return f"{self.model} on {self.data}" if self.model else self.data


class ModelEntry(NamedTuple):
    """Values that a file sets for one model."""

    path: str  # of the file in conf/
    pairs: dict[str, str]  # overrides
    about: str | None
    published: Sequence[str]


def read_metadata(path: str) -> Metadata:
    """Return the metadata of the file ``path`` in ``conf/``, which is not inherited; raise UserError if it is wrong."""
    return read_file_metadata(path, composition.find_config_file(path))


@cache
def read_file_metadata(path: str, file: Path) -> Metadata:
    """Return the metadata of a file, checked once."""
    content = composition.parse_config_file(file)
    place = composition.format_config_path(path)
    metadata = {key: value for key, value in content.items() if key in METADATA_KEYS}
    checked = tables.validate_row(Metadata, metadata, place)
    for values in filter(None, checked.by_model.values()):
        tables.validate_row(Metadata, {"published": values.get("published", ())}, place)
    return checked


def default_choice(command: str, pairs: dict[str, str]) -> Choice:
    """Return the choices of the overrides; those of the command's file where they make none."""
    items = [item for item in composition.read_config_file(command)["defaults"] if isinstance(item, dict)]
    defaults = {group: name for item in items for group, name in item.items()}
    chosen: dict[str, str] = {}
    for group in ("objective", "protocol"):
        if group in pairs:
            chosen |= find_chosen_model(f"{group}/{pairs[group]}")
    protocol, data, model = ((defaults | chosen | pairs).get(group) for group in Choice._fields)
    return Choice(protocol or "", data or "", model)


def find_chosen_model(path: str) -> dict[str, str]:
    """Return the model that a file in ``conf/`` chooses, as ``{"model": NAME}``; nothing if it chooses none."""
    if not composition.find_config_file(path).is_file():
        return {}  # a wrong name, which is reported later
    items = composition.read_config_file(path).get("defaults", [])
    pairs = [pair for item in items if isinstance(item, dict) for pair in item.items()]
    models = [name for key, name in pairs if key.startswith("override /model")]
    return {"model": models[-1]} if models else {}


def choose_recipe(command: str, pairs: dict[str, str]) -> Choice:
    """Return :func:`default_choice`, or the fallback protocol if none is named and the default has no recipe."""
    choice = default_choice(command, pairs)
    if "protocol" in pairs or has_recipe(command, choice):
        return choice
    return choice._replace(protocol=FALLBACK_PROTOCOLS[command])


def explain_fallback(command: str, pairs: dict[str, str]) -> str | None:
    """Return why a run follows the fallback protocol, which it did not name; None if it does not."""
    if "protocol" not in tables.list_groups(command) or "protocol" in pairs:
        return None
    default = default_choice(command, pairs)
    return None if has_recipe(command, default) else f"{default.protocol} has no recipe for {default}"


def has_recipe(command: str, choice: Choice) -> bool:
    """Return whether a protocol has a recipe for the data set and the model."""
    patterns = read_metadata(f"protocol/{choice.protocol}").for_data
    if command == "finetune" and has_boxes(choice.data):
        patterns = tuple(pattern for pattern in patterns if pattern != "*")
    if any(fnmatchcase(choice.data, pattern) for pattern in patterns):
        return True
    path = f"recipe/{command}/{choice.protocol}/{choice.data}"
    return composition.find_config_file(path).is_file() and (
        choice.model is None or read_metadata(path).other_models != REFUSED or choice.model in list_models(path)
    )


def has_boxes(data: str) -> bool:
    """Return whether the images of a row of ``conf/data`` have boxes."""
    if data not in tables.list_group_files("data"):
        return False
    return getattr(OPTIONS.get(tables.read_row("data", data)["source"]), "has_boxes", False)


def list_models(path: str) -> list[str]:
    """Return the models that a file has entries for."""
    by_model = read_metadata(path).by_model
    return list(
        dict.fromkeys(model for models, values in by_model.items() if values is not None for model in models.split())
    )


def list_model_entries(paths: Iterable[str], model: str | None) -> list[ModelEntry]:
    """Return what files set for a model, in their order, later over earlier.

    A file that inherits from another removes an entry of that with ``null``.
    """
    entries: dict[tuple[str, int], ModelEntry] = {}
    for path in paths:
        for models, values in read_metadata(path).by_model.items():
            if values is None:
                entries = {key: entry for key, entry in entries.items() if key[0] != models}
            elif model in models.split():
                keys = (key for key in trees.iterate_keys(values) if key not in MODEL_METADATA_KEYS)
                pairs = {key: trees.format_value(trees.get_value(values, key)) for key in keys}
                published = values.get("published", ())
                entries[models, len(entries)] = ModelEntry(path, pairs, values.get("about"), published)
    return list(entries.values())


def describe_model(paths: Sequence[str], model: str | None) -> str | None:
    """Return the notes of files on their recipe for a model, or on models without an entry."""
    entries = list_model_entries(paths, model)
    others = [text for path in paths if (text := read_metadata(path).other_models)]
    if not entries:
        return others[-1] if others and model else None
    return "; ".join(entry.about for entry in entries if entry.about) or None


def chooses_model(protocol: str) -> bool:
    """Return whether a protocol is for models of its own, of which it chooses one."""
    defaults = composition.read_config_file(f"protocol/{protocol}").get("defaults", [])
    return any("override /model" in item for item in defaults if isinstance(item, dict))


def check_protocol(command: str, pairs: dict[str, str]) -> None:
    """Raise a UserError if a named protocol is of another command, or has no recipe for the data set and the model."""
    if "protocol" not in pairs:
        return
    name, known = pairs["protocol"], tables.list_groups(command)["protocol"]
    if name not in known and name in tables.list_group_files("protocol"):
        commands = read_metadata(f"protocol/{name}").commands or ()
        why = f"is for vitrun {' and '.join(commands)}: choose one of {', '.join(known)}."
        raise UserError(why, option="protocol", value=name)
    lookup(known, name, "protocol", "protocol")
    choice = choose_recipe(command, pairs)
    if has_recipe(command, choice):
        return
    if not describe_recipes(command, choice.protocol):
        file = composition.format_config_path(f"protocol/{name}")
        why = f"names no data sets: add those that it is for to {file}, as in for_data: ['*']."
        raise UserError(why, option="protocol", value=name)
    fitting = (name for name in known if has_recipe(command, choice._replace(protocol=name)))
    others = [name for name in fitting if not chooses_model(name)]
    why = (
        f"has no recipe for {choice}, only for {describe_recipes(command, choice.protocol)}: choose one of these, or "
        f"for {choice} another protocol, {' or '.join(others)}."
    )
    raise UserError(why, option="protocol", value=name)


def describe_recipes(command: str, protocol: str) -> str:
    """Return the data sets that a protocol has recipes for, with the models of those that are for some alone."""
    patterns = read_metadata(f"protocol/{protocol}").for_data
    folder = f"recipe/{command}/{protocol}"
    names = [name for name in tables.list_group_files(folder) if not any(fnmatchcase(name, p) for p in patterns)]
    refused = {name: read_metadata(f"{folder}/{name}").other_models == REFUSED for name in names}
    some = {name: f" ({', '.join(list_models(f'{folder}/{name}'))})" if refused[name] else "" for name in names}
    return ", ".join([*patterns, *(f"{name}{some[name]}" for name in names)])
