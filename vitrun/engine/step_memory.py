"""Memory of a training step on a CPU: measured before the first one, so that its micro-batch fits."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor, nn

from vitrun import models
from vitrun.data import Batch
from vitrun.data.prefetching import PREFETCHED_BATCHES
from vitrun.engine.fit_options import FitOptions
from vitrun.engine.loop import count_workers
from vitrun.engine.optim import list_trained
from vitrun.engine.state import TrainState, count_bytes
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.device import divide_batch
from vitrun.runtime.memory import Memory

# The estimate is 0.8 to 1.2 times the measured memory of steps of ViT-B/16, ViT-Ti/4, BiT-R50x1 and Swin-T.
ERROR = 1.2
SPARE = 10**8  # bytes: stacks and buffers of threads, small tensors


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step of ``images`` images takes on a CPU beyond what the process has before it."""

    images: int  # of a step on this rank
    workers: int  # the most that compute micro-batches side by side
    shared: int  # of the optimizer and of batches
    worker: int  # of each worker, for gradients
    image: int  # of each image that a worker computes at once

    def estimate(self, micro_batch: int) -> int:
        """Return the bytes of a step with this micro-batch."""
        workers = min(self.workers, ceil(self.images / micro_batch))
        return self.shared + workers * (self.worker + self.image * micro_batch)

    def fits(self, micro_batch: int, size: int) -> bool:
        """Return whether a step surely fits into ``size`` bytes."""
        return ERROR * self.estimate(micro_batch) + SPARE <= size

    def exceeds(self, micro_batch: int, size: int) -> bool:
        """Return whether a step surely does not fit into ``size`` bytes."""
        return self.estimate(micro_batch) > ERROR * size

    def choose_fitting(self, size: int, at_most: int) -> int | None:
        """Return the largest micro-batch that surely fits into ``size`` bytes, rounded; None if no image does.

        More images at once may fit where fewer do not, if there are then fewer micro-batches than workers.
        """
        fewer = [ceil(self.images / workers) for workers in range(self.workers - 1, 0, -1)]  # from there on
        ranges = zip([1, *fewer], [*(low - 1 for low in fewer), self.images])  # the same number of workers in each
        largest = [self.find_largest(size, low, min(high, at_most)) for low, high in ranges]
        best = max(filter(None, largest), default=None)
        if best is None:
            return None
        rounded = divide_batch(self.images, best)
        return rounded if self.fits(rounded, size) else ceil(self.images / ceil(self.images / best))

    def find_largest(self, size: int, low: int, high: int) -> int | None:
        """Return the largest micro-batch from ``low`` to ``high`` that surely fits into ``size`` bytes, if any does."""
        fitting = bisect_left(range(low, high + 1), True, key=lambda micro: not self.fits(micro, size))
        return low + fitting - 1 if fitting else None


def measure_step(
    state: TrainState, batch: Batch, images: int, options: FitOptions, moments: int, enough: int
) -> StepMemory:
    """Return the memory of a step of ``images`` images, by what forward passes of the first images of ``batch`` keep.

    Each worker has gradients twice: its sums, and those of its last micro-batch. Batches are computed ahead.

    Args:
        moments: Bytes of the optimizer's state, which it allocates in its first step.
        enough: Bytes that are free. If a rough bound shows that they suffice, one pass is measured instead of two.
    """
    workers = min(count_workers(state, options.machine), images)
    tensors = (batch.pixels, batch.labels, *batch.inputs, *batch.targets)
    batches = (PREFETCHED_BATCHES + 2) * images * count_bytes(tensors) // len(batch.indices)
    gradients = 2 * count_bytes(list_trained(state.network))
    one = measure_forward(state, batch, 1, options)
    bound = StepMemory(images, workers, moments + batches, gradients, one)
    if bound.fits(state.micro_batch, enough):
        return bound
    two = measure_forward(state, batch, 2, options)
    return replace(bound, worker=gradients + max(0, 2 * one - two), image=two - one)


def measure_forward(state: TrainState, batch: Batch, images: int, options: FitOptions) -> int:
    """Return the bytes that a forward pass of that many images keeps for the backward pass; change nothing."""
    network = state.network
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor  # it stays alive, so that no other gets its address

    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    training = [norm.training for norm in norms]
    for norm in norms:  # one image may have too few values for its statistics, which would change
        norm.eval()
    inputs, targets = batch.micro_batch(slice(0, images), options.machine.device)
    try:
        with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            with options.machine.autocast(), models.fused_attention(network, state.fused):
                outputs = network(*inputs)
            options.loss(outputs, *targets)
    finally:
        for norm, value in zip(norms, training):
            norm.train(value)
    return sum(sizes.values())


def fit_micro_batch(
    state: TrainState, memory: StepMemory, free: Memory, is_auto: bool, warn: Callable[[str], None]
) -> None:
    """Lower the micro-batch of ``state``, one of ``auto``, to what fits into ``free`` memory; warn of that.

    Raise UserError (exit code 6) if a fixed one cannot fit, or not even a single image; warn if it may not.
    """
    micro = state.micro_batch
    if memory.fits(micro, free.size):
        return
    least = memory.choose_fitting(free.size, micro) or 1

    def compare(size: int) -> str:
        return f"about {memory.estimate(size) / 1e9:.2g} GB, and {free.limit} leaves {free.size / 1e9:.2g} GB"

    if memory.exceeds(least, free.size):
        advice = "Use a smaller model, res or batch"
        advice += ", or OMP_NUM_THREADS=1 for a single worker" * (memory.workers > 1)
        raise UserError(f"A step takes {compare(least)}, with one image at a time. {advice}.", ExitCode.SPACE)
    if is_auto:
        state.micro_batch = least
        warn(f"a step with a micro-batch of {micro} takes {compare(micro)}: {least} from here on")
    elif memory.exceeds(micro, free.size):
        why = f"takes {compare(micro)}. Use micro_batch={least}, or auto; the batch of a step stays the same."
        raise UserError(why, ExitCode.SPACE, "micro_batch", str(micro))
    else:
        warn(f"a step with a micro-batch of {micro} takes {compare(micro)}: if that fails, use micro_batch={least}")
