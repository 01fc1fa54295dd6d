"""Compilation of the network for training by torch.compile (``compile=``)."""

from collections.abc import Callable
from typing import Any

import torch

from vitrun import models
from vitrun.errors import ExitCode, UserError, is_out_of_memory
from vitrun.recipes import Training
from vitrun.recipes.macs import count_exaflop
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine

BACKEND = "inductor"
# Training that takes more is compiled on a GPU: an H100 computes it in 20 minutes at two fifths of its peak, a smaller
# GPU in hours, and compiling takes one to two minutes.
LONG_EXAFLOP = 0.5


def compile_network(
    recipe: Training, loaded: models.LoadedModel, machine: Machine, images: int
) -> Callable[..., Any] | None:
    """Return the compiled forward pass of the network for a run of so many ``images``; None to train without.

    It is compiled at its first call. Evaluation, saving and diagnosis use the network itself. Raise UserError if the
    recipe has ``compile=true`` and torch.compile cannot be used here.
    """
    if recipe.compile is False or recipe.compile == "auto" and not is_long(loaded, machine, images):
        return None
    reason = explain_missing_compiler(machine)
    if reason is None:
        return report_errors(torch.compile(loaded.network, dynamic=False, backend=BACKEND))
    if recipe.compile == "auto":
        return None
    raise UserError(f"{reason} Leave it out.", ExitCode.DEVICE, "compile", "true")


def is_long(loaded: models.LoadedModel, machine: Machine, images: int) -> bool:
    """Return whether training on so many images is long enough to be compiled: on a GPU, from LONG_EXAFLOP on."""
    if machine.device.type != "cuda":
        return False
    return count_exaflop(models.count_macs(loaded.model, loaded.classes, loaded.res), images) >= LONG_EXAFLOP


def explain_missing_compiler(machine: Machine) -> str | None:
    """Return why torch.compile cannot be used; None if it can."""
    if distributed.world_size() > 1:
        return "torch.compile is used on one rank only."
    if machine.device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "torch.compile needs Triton, which is missing here or does not know this GPU."
    if machine.device.type != "cpu":
        return f"torch.compile is not used on {machine.device.type}."
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "torch.compile needs a C++ compiler on a CPU, and found none: install g++ or clang."
    return None


def report_errors(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls ``compiled``, and raises a UserError if compiling it fails."""
    from torch._dynamo.exc import TorchDynamoException

    def forward(*inputs: Any) -> Any:
        try:
            return compiled(*inputs)
        except TorchDynamoException as error:
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            why = f"torch.compile {torch.__version__} cannot compile the network ({reason}). Use compile=false."
            raise UserError(why, option="compile") from error

    return forward
