"""vitrun's own weights: one ``.safetensors`` file whose metadata describes the network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from vitrun.errors import ExitCode, UserError
from vitrun.models.formats import native
from vitrun.models.load_report import describe_model, format_names
from vitrun.models.network import Network
from vitrun.models.tensor_files import read_weights, write_safetensors
from vitrun.recipes import Model
from vitrun.runtime.files import write_atomic


def save_model(
    path: str | Path,
    network: nn.Module,
    model: Model,
    classes: int,
    res: int,
    names: Sequence[str] = (),
) -> None:
    """Write the network's tensors and its description to a ``.safetensors`` file, atomically.

    ``names`` are those of the classes, if they have any.
    """
    save_tensors(Path(path), network.state_dict(), describe_weights(model, classes, res, names))


def describe_weights(model: Model, classes: int, res: int, names: Sequence[str] = ()) -> dict[str, str]:
    """Return the metadata of a file of :func:`save_model`."""
    return {"vitrun": json.dumps({"model": asdict(model), "classes": classes, "names": [*names], "res": res})}


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file atomically, with the permissions of the umask."""
    write_atomic(path, lambda partial: write_safetensors(partial, tensors, metadata))


@torch.no_grad()
def restore_weights(network: Network, path: str | Path) -> None:
    """Copy the tensors of a file of :func:`save_model` into a network. Raise a UserError if they do not fit."""
    weights, tensors = read_weights(path), network.state_dict()
    names = sorted(tensors.keys() | weights.keys())
    differing = [name for name in names if name not in tensors or weights.shapes.get(name) != tensors[name].shape]
    if differing:
        source = native.recognise(weights)
        file = (
            f"these weights are {describe_model(source.model)}"
            if source
            else "these weights were not written by vitrun"
        )
        expected = f"the network is {describe_model(network.row)}"
        raise UserError(f"{path}: {file}; {expected}. They differ in {format_names(differing)}.", ExitCode.CHECKPOINT)
    for name, tensor in tensors.items():
        tensor.copy_(weights[name])
