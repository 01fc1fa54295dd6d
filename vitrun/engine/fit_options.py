"""How a step of training is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from vitrun.data import Batch
from vitrun.engine.diagnosis import NonFiniteStep, stop_at_non_finite
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.random import derive_seed


@dataclass(frozen=True)
class FitOptions:
    """Options of :func:`vitrun.engine.loop.fit`."""

    loss: Callable[..., Tensor]  # loss(outputs, *targets) -> the loss of each image [B]
    images: int  # in the batch of a step, over all ranks
    lr: Callable[[int], float]  # the learning rate at a step
    clip: float | None  # bound on the gradient's global norm
    ema_decay: float | None
    seed: int  # of dropout and stochastic depth
    machine: Machine
    tick: Callable[[int], None]  # called with the number of images after each micro-batch; may raise Interrupted
    # called before the update if the loss or the gradient is not finite; raises, or returns to skip the update
    on_non_finite: Callable[[NonFiniteStep], None] = stop_at_non_finite
    halve: bool = True  # whether a micro-batch for which the memory does not suffice is halved and tried again
    # what precedes a step of a loss that needs the outputs for all images at once: :func:`joint_loss.pass_outputs`
    first_pass: Callable[..., tuple[Batch, "FitOptions"]] | None = None


class Gradients(NamedTuple):
    """Result of a backward pass over a batch; the gradient itself is in the parameters."""

    loss: Tensor  # share of this rank in the step's mean loss, on the device
    image_losses: list[Tensor]  # of the images, in their order, for each micro-batch


def dropout_seed(seed: int, step: int) -> int:
    """Return the seed of what layers draw in a step: another one for each rank."""
    return derive_seed(seed, f"dropout {distributed.rank()}" if distributed.rank() else "dropout", step)
