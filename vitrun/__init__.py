"""vitrun: run the experiments of "An Image is Worth 16x16 Words" (arXiv 2010.11929), from the command line or Python.

There is one function per command (docs/python.md). Each is imported, and torch with it, when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrun.api.commands import (
        compare,
        dedup,
        doctor,
        export,
        fewshot,
        finetune,
        generate,
        list_data,
        list_models,
        list_runs,
        predict,
        pretrain,
        quickstart,
        report,
        visualize,
    )
    from vitrun.api.commands import eval as eval
    from vitrun.api.networks import build, load
    from vitrun.api.result import Result
    from vitrun.errors import UserError

__version__ = "0.1.0"
__all__ = [  # without eval, so that `from vitrun import *` leaves Python's own
    "Result",
    "UserError",
    "__version__",
    "build",
    "compare",
    "dedup",
    "doctor",
    "export",
    "fewshot",
    "finetune",
    "list_data",
    "list_models",
    "list_runs",
    "load",
    "predict",
    "pretrain",
    "quickstart",
    "report",
    "generate",
    "visualize",
]
MODULES = {  # of the names that are not commands
    "Result": "vitrun.api.result",
    "UserError": "vitrun.errors",
    "build": "vitrun.api.networks",
    "load": "vitrun.api.networks",
}


def __getattr__(name: str) -> Any:
    """Import a function when it is first used."""
    if name == "eval" or name in __all__:
        return getattr(import_module(MODULES.get(name, "vitrun.api.commands")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names in the package, for completion."""
    return sorted([*globals(), *__all__, "eval"])
