"""Arguments of ``vitrun predict``: paths among the overrides."""

import os
import re
from collections.abc import Sequence

COMMANDS = ("predict",)
PATH = re.compile(r"-|[^=-][^=]*|[^=]*/.*")  # without a key, or with a slash before the first =


def split_paths(command: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides and the paths among the arguments of a command; all are overrides if it takes no paths.

    A path with ``=`` in the name of its file is one if the file exists, or if it is typed with its folder.
    """
    if command not in COMMANDS:
        return list(arguments), []
    paths = [argument for argument in arguments if PATH.fullmatch(argument) or os.path.lexists(argument)]
    return [argument for argument in arguments if argument not in paths], paths
