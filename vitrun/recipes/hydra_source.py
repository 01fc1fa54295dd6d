"""Plugin by which Hydra searches the user's folders first, and reads their files with limits."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from vitrun.recipes import own_folder


@cache
def search_path_plugin() -> Any:
    """Return the plugin, registered with Hydra, that has it search ``folders`` before that of ``initialize``.

    The option ``hydra.searchpath`` could only add folders after it.
    """
    from hydra._internal.core_plugins.file_config_source import FileConfigSource
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class CheckedSource(FileConfigSource):
        """Folder whose files are read with limits, before Hydra reads them without."""

        @staticmethod
        def scheme() -> str:
            return "own"

        def is_config(self, config_path: str) -> bool:
            return os.path.lexists(Path(self.path) / self._normalize_file_name(config_path))

        def load_config(self, config_path: str) -> Any:
            own_folder.read_own_file(Path(self.path) / self._normalize_file_name(config_path))
            return super().load_config(config_path)

    class OwnFolders(SearchPathPlugin):
        folders: tuple[Path, ...] = ()

        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for folder in reversed(self.folders):
                search_path.prepend(provider="vitrun", path=f"{CheckedSource.scheme()}://{folder}", anchor="main")

    SourcesRegistry.instance().register(CheckedSource)
    Plugins.instance().register(OwnFolders)
    return OwnFolders
