"""Find the files of ``conf/`` and compose them with Hydra. This module and ``hydra_source`` alone call Hydra.

Commands and rows of tables are composed here alike, so a ``defaults:`` list works in any file. Hydra is imported when
something is composed: names and headers need none of it.
"""

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

import vitrun
from vitrun.recipes import hydra_source, own_folder

PACKAGE = Path(vitrun.__file__).parent
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"  # wheel, else checkout


MAX_HEADER = 1_000  # characters that are read of a first comment line


class ConfigFile(NamedTuple):
    """File that a composition consists of."""

    path: str  # in conf/, without .yaml
    package: str  # the option that it sets, "" for the whole tree
    parent: str  # the file whose defaults list names it


class CompositionError(Exception):
    """Error of Hydra's while composing, with its message."""


def config_folders() -> list[Path]:
    """Return the folders of config files; a file in an earlier one hides those of its name in later ones."""
    own = own_folder.find_own_folder(CONF)
    return [CONF] if own is None else [own, CONF]


def explain_skipped_folder() -> str | None:
    """Return why the folder ``conf`` of the user is not searched; None if it is, or there is none."""
    return own_folder.explain_skipped_folder(CONF)


def is_own(file: Path) -> bool:
    """Return whether a config file is the user's and not vitrun's."""
    return not file.is_relative_to(CONF)


def format_config_path(path: str) -> str:
    """Return how messages name the file ``path``: ``conf/model/vit_b16.yaml``, ``./conf/model/mine.yaml`` if own."""
    file = find_config_file(path)
    return own_folder.format_path(file) if is_own(file) else f"conf/{path}.yaml"


def find_config_file(path: str) -> Path:
    """Return the file ``<path>.yaml`` of the first folder that has it, or else where it would be in the last."""
    files = [folder / f"{path}.yaml" for folder in config_folders()]
    return next((file for file in files if os.path.lexists(file)), files[-1])


def list_config_names(folder: str) -> dict[str, Path]:
    """Return the files of a folder by name; ``vtab/pets`` for one in a folder of it, after those outside.

    Names with a part that begins with ``_`` are fragments, which other files inherit from, and are not listed.
    """
    result: dict[str, Path] = {}
    for place in (root / folder for root in config_folders()):
        list_names = list_yaml_files if is_own(place) else list_package_files
        for name, file in list_names(place).items():
            result.setdefault(name, file)
    return result


def list_yaml_files(place: Path) -> dict[str, Path]:
    """Return the files below a folder by name, but for fragments."""
    files = sorted(place.rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    names = {file.relative_to(place).with_suffix("").as_posix(): file for file in files}
    return {name: file for name, file in names.items() if not is_fragment(name)}


list_package_files = cache(list_yaml_files)  # files of the package do not change while a process runs


def is_fragment(path: str) -> bool:
    """Return whether a file is there for others to inherit from: a part of its path begins with ``_``."""
    return any(part.startswith("_") for part in path.split("/"))


def read_header(path: str) -> str:
    """Return the first comment line of a file, but for the one that Hydra reads; "" if it begins without any."""
    if not find_config_file(path).is_file():
        return ""
    try:
        with find_config_file(path).open(encoding="utf-8", errors="replace") as file:
            first = file.readline(MAX_HEADER).strip()
            first = file.readline(MAX_HEADER).strip() if first == "# @package _global_" else first
    except OSError:  # it is reported if it is chosen
        return ""
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def read_config_file(path: str) -> dict[str, Any]:
    """Return the plain values of one file, without those that it inherits."""
    return parse_config_file(find_config_file(path))


@cache
def parse_config_file(file: Path) -> dict[str, Any]:
    """Return the content of a YAML file. Raise UserError if it is the user's, and not YAML with options."""
    if not is_own(file):
        return cast(dict[str, Any], yaml.load(file.read_text(encoding="utf-8"), Loader=hydra_source.SAFE_LOADER) or {})
    return own_folder.read_own_file(file)


def compose(config: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the plain tree that Hydra composes of a config file and overrides in its grammar; cached.

    Raise CompositionError if Hydra cannot.
    """
    return deepcopy(compose_cached(config, tuple(overrides), tuple(config_folders())))


@cache
def compose_cached(config: str | None, overrides: tuple[str, ...], folders: tuple[Path, ...]) -> dict[str, Any]:
    """Compose once in a process; overrides that differ in values alone share the merged files, if all are vitrun's."""
    from omegaconf import OmegaConf

    choices = select_choices(overrides, folders)
    load = load_choices if len(folders) == 1 else load_choices.__wrapped__  # the user's files may change
    with hydra_errors():
        tree = pickle.loads(load(config, choices, folders)[1])
        hydra_source.apply_overrides(tree, [override for override in overrides if override not in choices])
        return cast(dict[str, Any], OmegaConf.to_container(tree, resolve=True))


def list_composed_files(config: str | None, overrides: Sequence[str]) -> list[ConfigFile]:
    """Return the files of a composition in the order in which they are merged; cached."""
    folders = tuple(config_folders())
    with hydra_errors():
        return [*load_choices(config, select_choices(overrides, folders), folders)[0]]


def select_choices(overrides: Sequence[str], folders: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the overrides in Hydra's grammar that choose a file: their key is a folder of config files."""
    groups = [override.partition("=")[0].lstrip("+~").partition("@")[0] for override in overrides]
    is_choice = [any(os.path.isdir(folder / group) for folder in folders) for group in groups]
    return tuple(compress(overrides, is_choice))


@cache
def load_choices(
    config: str | None, choices: tuple[str, ...], folders: tuple[Path, ...]
) -> tuple[list[ConfigFile], bytes]:
    """Return the files that choices select, and the pickle of Hydra's tree of them merged; this takes Hydra 20 ms.

    Each caller changes its copy of the tree, which ``pickle`` makes five times as fast as ``deepcopy``.
    """
    defaults, tree = hydra_source.load_files(config, choices, folders)
    return [ConfigFile(file.config_path, file.package or "", file.parent) for file in defaults], pickle.dumps(tree)


def parse_sweep(override: str, names: list[str], limit: int) -> list[str]:
    """Return up to ``limit`` values of a sweep in Hydra's grammar, as typed; ``glob`` selects from ``names``.

    Raise CompositionError if it is none.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob, Transformer
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
        value = parsed.value()
        if isinstance(value, Glob):
            return list(value.filter(names))
        return [str(one) for one in islice(parsed.sweep_iterator(transformer=Transformer.encode), limit)]
    except (HydraException, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CompositionError(str(error).splitlines()[0]) from None


def can_parse(override: str) -> bool:
    """Return whether Hydra's grammar has an override."""
    from hydra.errors import HydraException

    try:
        parse_override(override)
    except (HydraException, ValueError, RecursionError):
        return False
    return True


def parse_override(override: str) -> tuple[str, Any]:
    """Return key and value of an override in Hydra's grammar, the value as it would be composed."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    return parsed.key_or_group, parsed.value()


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Raise CompositionError in place of errors of Hydra and of YAML."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError) as error:
        raise CompositionError(str(error)) from None
