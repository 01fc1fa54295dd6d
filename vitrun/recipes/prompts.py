"""Prompts of a zero-shot classifier: templates and names of classes, of a data set, of a file, or typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrun.errors import suggest
from vitrun.recipes import composition, yaml_file
from vitrun.recipes.base import OptionError
from vitrun.recipes.dataset import AUTO

FOLDER = "prompt_sets"  # of conf/: a file for each data set with published prompts
GAP = "{}"  # what a template has in the place of a name
DEFAULT_TEMPLATE = "a photo of a {}."  # OpenAI's for names without a template
KEYS = ("templates", "classes", "like", "source")


@dataclass(frozen=True)
class Prompts:
    """Templates, and the names of classes: of each one or several; by class if they are a mapping, None if unknown."""

    templates: tuple[str, ...]
    names: tuple[tuple[str, ...], ...] | Mapping[str, tuple[str, ...]] | None
    origin: str  # where they are from, for the log


def find_prompts(value: str, data: Any = None) -> Prompts:
    """Return the prompts that ``prompts=`` names, for a data set if there is one.

    ``auto`` is the published ones of the data set, else its names as they are in one template. Raise an OptionError if
    there are none of that name, or if a file has none.
    """
    if value == AUTO:
        name = name_prompt_set(data) if data is not None else ""
        if name in composition.list_config_names(FOLDER):
            return read_prompt_set(name)
        return Prompts((DEFAULT_TEMPLATE,), None, f"{name or 'no data set'} has none of its own")
    if GAP in value:
        return Prompts((value,), None, "as typed")
    if value in composition.list_config_names(FOLDER):
        return read_prompt_set(value)
    path = Path(value).expanduser()
    if path.is_file():
        return read_prompt_file(path, value)
    if "," in value:
        names = [name.strip() for name in value.split(",") if name.strip()]
        return Prompts((DEFAULT_TEMPLATE,), tuple((name,) for name in names), "as typed")
    known = suggest(value, composition.list_config_names(FOLDER))
    why = f"is neither a template, which has {GAP} for the name of a class, nor a file, nor the name of a set. {known}"
    raise OptionError("prompts", value, why)


def name_prompt_set(data: Any) -> str:
    """Return the name of the prompts of a data set; those of drawn shapes differ by what the label names."""
    target = getattr(data, "target", "shape")
    return data.name if target == "shape" else f"{data.name}_{target}"


def read_prompt_set(name: str) -> Prompts:
    """Return the prompts of a file of ``conf/prompt_sets``, or of the one that it is ``like``."""
    tree = composition.read_config_file(f"{FOLDER}/{name}")
    if "like" in tree:
        return read_prompt_set(str(tree["like"]))
    return parse_prompts(tree, name, f"{composition.format_config_path(f'{FOLDER}/{name}')}")


def read_prompt_file(path: Path, value: str) -> Prompts:
    """Return the prompts of a YAML file, or of a text whose lines are templates and names of classes."""
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            return parse_prompts(yaml_file.read_options(path), value, str(path))
        lines = [line.strip() for line in yaml_file.read_text(path).splitlines() if line.strip()]
    except yaml_file.UnreadableError as error:
        raise OptionError("prompts", value, f"{error}.") from None
    templates = [line for line in lines if GAP in line]
    names = [line for line in lines if GAP not in line]
    return parse_prompts({"templates": templates or [DEFAULT_TEMPLATE], "classes": names or None}, value, str(path))


def parse_prompts(tree: Mapping[str, Any], value: str, origin: str) -> Prompts:
    """Return the prompts in a tree; raise an OptionError if something else is in it."""
    for key in tree:
        if key not in KEYS:
            raise OptionError("prompts", value, f"{origin} has {key!r}: it takes {' and '.join(KEYS[:2])}.")
    templates, classes = tree.get("templates") or [DEFAULT_TEMPLATE], tree.get("classes")
    templates = [templates] if isinstance(templates, str) else templates
    wrong = [text for text in templates if not isinstance(text, str) or GAP not in text]
    if wrong:
        raise OptionError("prompts", value, f"{origin} has the template {wrong[0]!r:.60} without {GAP}: add it.")
    names: tuple[tuple[str, ...], ...] | dict[str, tuple[str, ...]] | None = None
    if isinstance(classes, Mapping):
        names = {key: as_names(entry) for key, entry in classes.items()}
    elif isinstance(classes, list):
        names = tuple(as_names(entry) for entry in classes)
    elif classes is not None:
        raise OptionError("prompts", value, f"{origin}: classes must be a list of names, or a mapping from a class.")
    if not all(names.values() if isinstance(names, dict) else names or ((),) * (names is not None)):
        raise OptionError("prompts", value, f"{origin} has a class without a name, or no class at all.")
    return Prompts(tuple(templates), names, origin)


def as_names(entry: Any) -> tuple[str, ...]:
    """Return the names of a class, of which there may be several."""
    return tuple(str(name).strip() for name in (entry if isinstance(entry, list) else [entry]))
