"""Composition by Hydra: vitrun's own config files are parsed once in a process, the user's are read with limits.

``hydra.compose`` would search the user's folders last, scan for plugins, and load the files of Hydra's own groups
(logging, launcher, help ...) each time. So its steps are called here one by one. Hydra's global state stays as it was,
for other programs in this process.
"""

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vitrun.recipes import own_folder

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is eight times as fast, where it is installed


def load_files(config: str | None, choices: Sequence[str], folders: tuple[Path, ...]) -> tuple[list[Any], Any]:
    """Return Hydra's final defaults list for a config file and choices of groups, and the tree of the merged files."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_repository import CachingConfigRepository
    from hydra._internal.defaults_list import create_defaults_list
    from omegaconf import OmegaConf

    loader = ConfigLoaderImpl(make_search_path(folders))
    repository = CachingConfigRepository(loader.repository)
    with hydra_version():
        result = create_defaults_list(
            repository, config, parse_overrides(choices), prepend_hydra=False, skip_missing=False
        )
        tree = loader._compose_config_from_defaults_list(result.defaults, repository)
    tree.pop("hydra", None)  # options of Hydra itself, which only hydra.main reads
    OmegaConf.set_struct(tree, True)
    return list(result.defaults), tree


def apply_overrides(tree: Any, overrides: Sequence[str]) -> None:
    """Set values of a tree that :func:`load_files` returned, in place."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config(parse_overrides(overrides), tree)


def parse_overrides(overrides: Sequence[str]) -> list[Any]:
    """Return overrides as Hydra parses them; raise Hydra's own error if one is a sweep."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
    return parsed


@contextmanager
def hydra_version() -> Iterator[None]:
    """Have Hydra compose as its version 1.3 does, inside the context."""
    from hydra.version import VersionBase, setbase

    state = VersionBase.instance()
    before = state.version_base
    setbase("1.3")
    try:
        yield
    finally:
        state.version_base = before


def make_search_path(folders: tuple[Path, ...]) -> Any:
    """Return Hydra's search path: the user's folders, if any, before that of the package."""
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
    from hydra._internal.sources_registry import SourcesRegistry

    for source in (package_source(), own_source(), StructuredConfigSource):
        SourcesRegistry.instance().register(source)
    *own, package = folders
    result = ConfigSearchPathImpl()
    for folder in own:
        result.append("vitrun", f"{own_source().scheme()}://{folder}")
    result.append("main", f"{package_source().scheme()}://{package}")
    result.append("schema", f"{StructuredConfigSource.scheme()}://")  # Hydra requires one, in the last place
    return result


@cache
def own_source() -> Any:
    """Return Hydra's source for a folder of the user: each file is read with limits before Hydra reads it without."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource

    class OwnSource(FileConfigSource):
        @staticmethod
        def scheme() -> str:
            return "own"

        def is_config(self, config_path: str) -> bool:
            return os.path.lexists(Path(self.path) / self._normalize_file_name(config_path))

        def load_config(self, config_path: str) -> Any:
            own_folder.read_own_file(Path(self.path) / self._normalize_file_name(config_path))
            return super().load_config(config_path)

    return OwnSource


@cache
def package_source() -> Any:
    """Return Hydra's source for the package's folder, whose files are parsed once."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource
    from hydra.plugins.config_source import ConfigResult
    from omegaconf import OmegaConf

    @cache
    def parse(file: str, changed: int) -> bytes:
        text = Path(file).read_text(encoding="utf-8")
        content = yaml.load(text, Loader=omegaconf_loader())
        config = OmegaConf.create({} if content is None else content)
        return pickle.dumps((config, FileConfigSource._get_header_dict(text[:512])))

    class PackageSource(FileConfigSource):
        @staticmethod
        def scheme() -> str:
            return "vitrun"

        def load_config(self, config_path: str) -> Any:
            file = os.path.join(self.path, self._normalize_file_name(config_path))
            config, header = pickle.loads(parse(file, os.stat(file).st_mtime_ns))  # a copy: Hydra changes both
            return ConfigResult(config=config, path=f"vitrun://{self.path}", provider=self.provider, header=header)

    return PackageSource


@cache
def omegaconf_loader() -> Any:
    """Return a loader of YAML that reads values as OmegaConf does (``1e-3`` is a number), in C: six times as fast."""
    from omegaconf._utils import get_yaml_loader

    stock = get_yaml_loader()

    class Loader(SAFE_LOADER):  # type: ignore[misc, valid-type]
        yaml_implicit_resolvers = stock.yaml_implicit_resolvers

    return Loader
