"""State of training that is divided over ranks: what its checkpoint stores, and how any checkpoint is read into it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from vitrun.runs.checkpoints import EMA_FILE, MODEL_FILE, MOMENTS_FILE
from vitrun.runtime import shards
from vitrun.runtime.sharded_files import has_parts, list_parts, read_parts

Entry = tuple[torch.Size, torch.dtype]
WEIGHTS, EMA, MOMENTS = "weights", "ema", "optimizer"  # prefixes of names in files of ranks
WHOLE_FILES = {WEIGHTS: MODEL_FILE, EMA: EMA_FILE, MOMENTS: MOMENTS_FILE}  # of a network that is not divided


def list_tensors(network: nn.Module, ema: list[Tensor] | None, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what a checkpoint stores, by the names in the files of ranks."""
    averages = dict(zip((name for name, _ in network.named_parameters()), ema or ()))
    parts = {WEIGHTS: network.state_dict(), EMA: averages, MOMENTS: list_moments(optimizer)}
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def list_moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer by ``NUMBER.KEY``, with the number of the parameter."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": value for number, entry in state.items() for key, value in entry.items() if value is not None
    }


@torch.no_grad()
def restore_weights(network: nn.Module, ema: list[Tensor] | None, checkpoint: Path) -> None:
    """Read the weights of a checkpoint in place, and their average if there is to be one."""
    read_tensors(checkpoint, WEIGHTS, network.state_dict())
    if ema is not None:
        read_tensors(checkpoint, EMA, dict(zip((name for name, _ in network.named_parameters()), ema)))


@torch.no_grad()
def restore_moments(optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Load the state of an optimizer, whose options stay as they are; do nothing if a checkpoint has none."""
    entries = list_entries(checkpoint, MOMENTS)
    if not entries:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    tensors = {}
    for name, (shape, dtype) in entries.items():
        number, _, key = name.partition(".")
        parameter = parameters[int(number)]
        is_divided = shape == parameter.shape and key not in getattr(optimizer, "whole_state", ())
        tensors[name] = torch.empty_like(parameter, dtype=dtype) if is_divided else torch.empty(shape, dtype=dtype)
    read_tensors(checkpoint, MOMENTS, tensors)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def list_entries(checkpoint: Path, part: str) -> dict[str, Entry]:
    """Return the shape and the type of each tensor of a part of a checkpoint."""
    if has_parts(checkpoint):
        entries = list_parts(checkpoint)
        return {name.removeprefix(f"{part}/"): entry for name, entry in entries.items() if name.startswith(f"{part}/")}
    file = checkpoint / WHOLE_FILES[part]
    if not file.exists():
        return {}
    with safe_open(file, "pt") as tensors:
        whole = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
        return {name: (tensor.shape, tensor.dtype) for name, tensor in whole.items()}


def read_tensors(checkpoint: Path, part: str, tensors: Mapping[str, Tensor]) -> None:
    """Read tensors in place, or this rank's parts of them; raise ValueError if the checkpoint has others."""
    if has_parts(checkpoint):
        read_parts(checkpoint, {f"{part}/{name}": tensor for name, tensor in tensors.items()})
        return
    with safe_open(checkpoint / WHOLE_FILES[part], "pt") as file:
        for name, tensor in tensors.items():
            whole = file.get_tensor(name)
            if whole.shape != tensor.shape:
                raise ValueError(f"{name} is {list(whole.shape)}")
            shards.local_part(tensor).copy_(shards.take_part(whole, like=tensor))
