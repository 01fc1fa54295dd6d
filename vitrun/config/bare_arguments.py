"""Arguments without a key: the paths of ``predict`` and ``visualize``, and ``vitrun runs rm NAME...``."""

import os
import re
from collections.abc import Sequence

from vitrun.errors import UserError
from vitrun.recipes import trees
from vitrun.runtime.path_patterns import STANDARD_INPUT, read_names

PATH = re.compile(r"-|[^=-][^=]*|[^=]*/.*")  # without a key, or with a slash before the first =
WATCH_FLAG = "--watch"  # of vitrun runs: watch=true
REMOVE = "rm"


def split_arguments(command: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Return the overrides among the arguments of a command, and the options that the others set.

    A path with ``=`` in the name of its file is one if the file exists, or if it is typed with its folder.
    """
    paths = [argument for argument in arguments if PATH.fullmatch(argument) or os.path.lexists(argument)]
    if command == "predict":
        return [argument for argument in arguments if argument not in paths], {"paths": tuple(paths)}
    if command == "visualize":  # whose run is named by what lies there
        names = [name for path in paths for name in (read_names() if path == STANDARD_INPUT else [path])]
        overrides = [argument for argument in arguments if argument not in paths]
        return [*overrides, *[f"images={trees.format_value(names)}"] * bool(paths)], {}
    if command == "runs":
        words = [argument for argument in arguments if "=" not in argument and argument != WATCH_FLAG]
        overrides = [argument for argument in arguments if "=" in argument]
        overrides += ["watch=true"] * (WATCH_FLAG in arguments)
        return overrides, {"remove": read_removal(words)}
    return list(arguments), {}


def read_removal(words: Sequence[str]) -> tuple[str, ...]:
    """Return the runs of ``rm NAME...``; raise UserError about anything else."""
    if not words:
        return ()
    if words[0] != REMOVE:
        raise UserError(f"{words[0]!r} is not KEY=VALUE: `vitrun runs` lists runs, `vitrun runs rm NAME` deletes some.")
    if len(words) == 1:
        raise UserError("Name the runs to delete: vitrun runs rm NAME...", option="remove")
    return tuple(words[1:])
