"""Our own files of weights: one ``.safetensors`` that says itself which network it holds."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from vitrun.errors import ExitCode, UserError
from vitrun.models.formats import native
from vitrun.models.load_report import describe_model, format_names
from vitrun.models.tensor_files import read_weights
from vitrun.recipes import BiT, Timm, ViT
from vitrun.runtime.files import write_atomic


def save_model(
    path: str | Path,
    network: nn.Module,
    model: ViT | BiT | Timm,
    classes: int,
    res: int,
    names: Sequence[str] = (),
) -> None:
    """Write the network's tensors to one ``.safetensors`` file that stands alone: whole, or what was there before.

    ``names`` are those of the classes, where they have any.
    """
    facts = {"model": asdict(model), "classes": classes, "names": [*names], "res": res}
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_tensors(Path(path), tensors, {"vitrun": json.dumps(facts)})


def save_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write a ``.safetensors`` file, whole or not at all, with the permissions that the umask gives."""
    from safetensors.torch import save_file

    def write(partial: Path) -> None:
        partial.touch()
        mode = partial.stat().st_mode  # safetensors itself makes files that only their owner can read
        save_file(tensors, partial, facts)
        partial.chmod(mode)

    write_atomic(path, write)


@torch.no_grad()
def restore_weights(network: nn.Module, path: str | Path) -> None:
    """Give a network the tensors of a file that :func:`save_model` wrote; a UserError where they are another network's."""
    weights, own = read_weights(path), network.state_dict()
    names = sorted(own.keys() | weights.keys())
    differing = [name for name in names if name not in own or weights.shapes.get(name) != tuple(own[name].shape)]
    if differing:
        source = native.recognise(weights)
        there = f"these weights are {describe_model(source.model)}" if source else "these weights are not of vitrun"
        here = f"the network is {describe_model(network.row)}"
        raise UserError(f"{path}: {there}; {here}. They differ in {format_names(differing)}.", ExitCode.CHECKPOINT)
    for name, tensor in own.items():
        tensor.copy_(weights[name])
