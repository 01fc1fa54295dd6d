"""One file a command: what ``vitrun NAME`` runs."""

from importlib import import_module
from types import ModuleType

from vitrun.errors import UserError
from vitrun.runtime import distributed

RUN_COMMANDS = ("pretrain", "finetune", "fewshot", "eval", "dedup")  # those that make a run folder
DISTRIBUTED_COMMANDS = ("pretrain", "finetune", "fewshot", "eval")  # those that torchrun may start
COMMAND_MODULES = {
    "eval": "evaluate",
    "models": "list_models",
    "data": "list_data",
}  # others have the command's name


def import_command(command: str) -> ModuleType:
    """Import the module of a command, whose ``execute`` runs it."""
    return import_module(f"vitrun.commands.{COMMAND_MODULES.get(command, command)}")


def check_ranks(command: str, multirun: bool = False) -> None:
    """Raise a UserError if torchrun started several processes of what runs in one."""
    if distributed.world_size() > 1 and (multirun or command not in DISTRIBUTED_COMMANDS):
        what = "-m" if multirun else f"vitrun {command}"
        raise UserError(f"{what} runs in one process, not in {distributed.world_size()}: start it without torchrun.")
