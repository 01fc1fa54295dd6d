"""Forks of this process that run the command line: they start at once, since what they import is imported."""

import gc
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path


def start_fork(output: Path, function: Callable[..., object], *arguments: object) -> int:
    """Call ``function(*arguments)`` in a fork, with an output file and no input; return its process id.

    Its exit code is 0, that of SystemExit, 1 after a traceback.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    try:
        file = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
        function(*arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run_app(arguments: Sequence[str]) -> None:
    """Run ``vitrun ARGUMENTS``; raise SystemExit."""
    parsed_app()(list(arguments), prog_name="vitrun")


@cache
def parsed_app() -> Callable[..., object]:
    """Return the command line, whose options Typer reads once and not in each fork."""
    import typer

    from vitrun.cli.app import app

    return typer.main.get_command(app)


def preload(recipes: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Import what commands import, and read the files of ``conf/`` for recipes: command and overrides of each."""
    import pyarrow.parquet  # noqa: F401
    import timm
    import torch

    import vitrun
    from vitrun.config import resolve

    for module in pkgutil.walk_packages(vitrun.__path__, "vitrun."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    torch.set_num_threads(1)
    timm.create_model("vit_tiny_patch16_224", depth=1)
    for command, overrides in recipes:
        resolve.resolve_recipe(command, list(overrides), running=False)
    parsed_app()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all memory of this process
