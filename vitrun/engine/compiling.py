"""Compilation of the network for training by torch.compile (``compile=``)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vitrun import models
from vitrun.errors import ExitCode, UserError, is_out_of_memory
from vitrun.recipes import Training
from vitrun.recipes.macs import count_exaflop
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.fsdp import ShardedNetwork
from vitrun.runtime.replicas import Replica

BACKEND = "inductor"
# Training that takes more is compiled on a GPU: an H100 computes it in 20 minutes at two fifths of its peak, a smaller
# GPU in hours, and compiling takes one to two minutes.
LONG_EXAFLOP = 0.5


def compile_network(
    recipe: Training,
    loaded: models.LoadedModel,
    parallel: Replica | ShardedNetwork | None,
    machine: Machine,
    images: int,
) -> Callable[..., Any] | None:
    """Return the compiled forward pass of the network for a run of that many ``images``; None to train without.

    It is compiled at its first call. Evaluation, saving and diagnosis use the network itself. ``parallel`` is how ranks
    share the network. Raise UserError if the recipe has ``compile=true`` and torch.compile cannot be used here.
    """
    if recipe.compile is False or recipe.compile == "auto" and not is_long(loaded, machine, images):
        return None
    reasons = distributed.all_gather_object(explain_missing_compiler(machine))
    reason = next(filter(None, reasons), None)
    if reason is None and parallel is not None:
        return report_errors(CompiledBlocks(parallel, loaded.network))
    if reason is None:
        return report_errors(torch.compile(loaded.network, dynamic=False, backend=BACKEND))
    if recipe.compile == "auto":
        return None
    raise UserError(f"{reason} Leave it out.", ExitCode.DEVICE, "compile", "true")


class CompiledBlocks:
    """Forward pass of a network that ranks share, with blocks that are compiled one at a time, as in torchtitan.

    So the gradients of a block are summed over the ranks while the block below is computed, and FSDP2 gathers weights
    outside of what is compiled. A network without blocks is compiled whole, which torch cuts at the buckets of
    DistributedDataParallel.
    """

    def __init__(self, parallel: Replica | ShardedNetwork, network: nn.Module):
        blocks = models.list_blocks(network)
        config = torch._dynamo.config
        config.optimize_ddp = not blocks  # each block lies within one bucket or two
        config.skip_fsdp_guards = False  # blocks may differ in more than their weights: in stochastic depth
        config.recompile_limit = max(config.recompile_limit, 2 * len(blocks))  # torch counts all blocks together
        self.parallel = parallel
        self.forwards = [
            (block, torch.compile(block.forward, dynamic=False, backend=BACKEND)) for block in blocks or [network]
        ]

    def __call__(self, *inputs: Any) -> Any:
        """Return the outputs of the network for this rank's images."""
        usual = [(block, vars(block).get("forward")) for block, _ in self.forwards]  # of its class, or checkpointed
        for block, forward in self.forwards:
            block.forward = forward
        try:
            return self.parallel(*inputs)
        finally:
            for block, own in usual:
                del block.forward
                if own is not None:
                    block.forward = own


def is_long(loaded: models.LoadedModel, machine: Machine, images: int) -> bool:
    """Return whether training on that many images is long enough to be compiled: on a GPU, from LONG_EXAFLOP on."""
    if machine.device.type != "cuda":
        return False
    return count_exaflop(models.count_macs(loaded.model, loaded.classes, loaded.res), images) >= LONG_EXAFLOP


def explain_missing_compiler(machine: Machine) -> str | None:
    """Return why torch.compile cannot be used; None if it can."""
    if machine.device.type == "cuda":
        from torch.utils._triton import has_triton

        return (
            None if has_triton() else "torch.compile needs Triton, which is missing here or does not support this GPU."
        )
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
