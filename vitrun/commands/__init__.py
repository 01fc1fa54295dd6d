"""One file a command: what ``vitrun NAME`` runs."""

from importlib import import_module
from types import ModuleType

RUN_COMMANDS = (
    "pretrain",
    "finetune",
    "fewshot",
    "eval",
    "dedup",
    "visualize",
    "generate",
)  # those that make a run folder
DISTRIBUTED_COMMANDS = ("pretrain", "finetune", "fewshot", "eval")  # those that torchrun may start
COMMAND_MODULES = {
    "eval": "evaluate",
    "models": "list_models",
    "data": "list_data",
    "runs": "list_runs",
}  # others have the command's name


def import_command(command: str) -> ModuleType:
    """Import the module of a command, whose ``execute`` runs it."""
    return import_module(f"vitrun.commands.{COMMAND_MODULES.get(command, command)}")
