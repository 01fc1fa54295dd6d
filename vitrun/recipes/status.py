"""Recipes of the commands that show runs and the machine."""

from pathlib import Path
from typing import Literal

from vitrun.recipes.base import frozen_dataclass

RunState = Literal["running", "stopped", "failed", "finished", "damaged"]


@frozen_dataclass
class ListRuns:
    """List the runs in a folder with their state, or delete some."""

    runs: Path  # the folder of all run folders
    only: tuple[str, ...]  # parts of the names of runs, or patterns such as *-cifar10-*; [] for all runs
    states: tuple[RunState, ...]  # of the runs that are shown; [] for all
    watch: bool  # show the list again every two seconds until Ctrl-C; may also be typed as --watch
    remove: tuple[str, ...]  # runs to delete, by name or pattern; may also be typed as vitrun runs rm NAME...
    ask: bool  # ask before runs are deleted


@frozen_dataclass
class Doctor:
    """Show versions, devices, memory, disks and caches, for a report of a bug."""

    runs: Path  # the folder of all run folders
