"""Where a step of training became not finite: in which tensor, at which images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from vitrun.data import Batch
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.state import TrainState, use_weights
from vitrun.errors import ExitCode, UserError
from vitrun.runtime import distributed, shards
from vitrun.runtime.device import Machine

MAX_NAMED = 2  # images that a line names


@dataclass(frozen=True)
class NonFiniteStep:
    """Step whose loss or gradient norm is not finite; nothing was updated."""

    number: int  # steps done with it, as in metrics.jsonl
    loss: float
    norm: float
    lr: float
    origin: str  # the tensor that was first not finite, as ``output of blocks.3.mlp``
    in_weights: bool  # whether that is a weight: then every other batch gives the same
    images: list[tuple[str, float]]  # name and loss of each image of the batch, of all ranks

    def __str__(self) -> str:
        suspects = [name for name, loss in self.images if not isfinite(loss)]
        names = shorten_names(suspects or [name for name, _ in self.images])
        return (
            f"Step {self.number} has loss {self.loss:.4g} and gradient norm {self.norm:.4g} at lr {self.lr:.3g} "
            f"(first not finite: {self.origin}; images {names})"
        )


def stop_at_non_finite(step: NonFiniteStep, advice: str = "Try a smaller optim.lr.") -> None:
    """Raise the UserError (exit code 5) of a step that is not finite."""
    raise UserError(f"{step}: stopped before the update. {advice}", ExitCode.NUMERICS)


def shorten_names(names: Sequence[str]) -> str:
    """Return the first names of images, and how many others there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def gather_images(names: Sequence[str], image_losses: Sequence[Tensor]) -> list[tuple[str, float]]:
    """Return the name and the loss of each image of a step, of all ranks, which call this together."""
    losses = torch.cat([part.reshape(-1).float() for part in image_losses]).tolist()
    ranks = distributed.all_gather_object(list(zip(names, losses)))
    return [image for images in ranks for image in images]


def find_non_finite_weight(state: TrainState) -> str | None:
    """Return the name of the first weight or EMA that is not finite; None if all are finite."""
    named = {f"weight {name}": tensor for name, tensor in state.network.state_dict().items()}
    averages = zip(dict(state.network.named_parameters()), state.ema or ())
    return find_non_finite(named | {f"EMA of {name}": average for name, average in averages})


def find_non_finite(tensors: dict[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a value that is not finite; None if all are finite.

    Of tensors of which ranks have parts all ranks call this together.
    """
    if not tensors:
        return None
    parts = [shards.local_part(tensor).isfinite().all() for tensor in tensors.values()]
    finite = torch.stack(parts).tolist()  # one wait for the device
    if any(shards.is_sharded(tensor) for tensor in tensors.values()):
        finite = [all(ranks) for ranks in zip(*distributed.all_gather_object(finite))]
    return next((name for name, is_finite in zip(tensors, finite) if not is_finite), None)


def describe_origin(
    state: TrainState, batch: Batch, image_losses: Sequence[Tensor], machine: Machine, dropout_seed: int
) -> tuple[str, bool, list[tuple[str, float]]]:
    """Return which tensor of a step was first not finite, whether it is a weight, and the images with their losses.

    The gradient of the step is in ``p.grad``. All ranks call this together; the answer is that of the first rank where
    it is earliest: weights, images, outputs of layers, losses, gradients.
    """
    images = gather_images(batch.list_names(), image_losses)
    weight = find_non_finite_weight(state)
    if weight is not None:
        return weight, True, images
    with use_weights(state) as network:
        set_training_mode(network)
        output = find_non_finite_output(network, batch, state.micro_batch, machine, dropout_seed)
    outputs = [output for output in distributed.all_gather_object(output) if output is not None]
    if outputs:
        return outputs[0], False, images
    if unsound := [name for name, loss in images if not isfinite(loss)]:
        return f"loss of image {unsound[0]}", False, images
    # autograd computes the gradient of the last layer first
    gradients = {f"gradient of {name}": p.grad for name, p in state.network.named_parameters() if p.grad is not None}
    return find_non_finite(dict(reversed(gradients.items()))) or "norm of the gradient", False, images


def find_non_finite_output(
    network: nn.Module, batch: Batch, micro: int, machine: Machine, dropout_seed: int
) -> str | None:
    """Return the image, or the output of a layer, that is first not finite in a forward pass; None if all are finite.

    The pass repeats that of the step, with its micro-batches of ``micro`` images and its dropout.
    """
    origins: list[str] = []

    def make_hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def check(_: nn.Module, __: object, output: object) -> None:
            outputs = output if isinstance(output, tuple | list) else [output]
            tensors = {str(i): value for i, value in enumerate(outputs) if isinstance(value, Tensor)}
            if not origins and find_non_finite(tensors) is not None:
                origins.append(f"output of {name}" if name else "output of the network")

        return check

    names = batch.list_names()
    hooks = [module.register_forward_hook(make_hook(name)) for name, module in network.named_modules()]
    torch.manual_seed(dropout_seed)
    try:
        with torch.no_grad(), machine.autocast():
            for start in range(0, len(names), micro):
                inputs, _ = batch.micro_batch(slice(start, start + micro), machine.device)
                finite = inputs[0].isfinite().flatten(1).all(1).tolist()
                if not all(finite):
                    return f"image {names[start + finite.index(False)]}"
                network(*inputs)
                if origins:
                    return origins[0]
    finally:
        for hook in hooks:
            hook.remove()
    return None
