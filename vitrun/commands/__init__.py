"""One file a command: what ``vitrun NAME`` runs."""

from importlib import import_module
from types import ModuleType

MODULES = {"eval": "evaluate", "models": "list_models", "data": "list_data"}  # of commands named otherwise


def module(command: str) -> ModuleType:
    """Import the module of a command, whose ``main`` runs it."""
    return import_module(f"vitrun.commands.{MODULES.get(command, command)}")
