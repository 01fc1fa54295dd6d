"""The state of training, and its checkpoints."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.runs.checkpoints import EMA_FILE, MODEL_FILE
from vitrun.runs.run import Run
from vitrun.runtime.files import parse_json, read_small_text

MOMENTS_FILE = "train_state.safetensors"  # state of the optimizer
COUNTERS_FILE = "train_state.json"


@dataclass
class TrainState:
    """Everything that training changes, and that a checkpoint therefore stores."""

    network: models.Network
    optimizer: torch.optim.Optimizer
    ema: list[Tensor] | None  # exponential moving average of the weights, in the order of ``network.parameters()``
    step: int  # steps done
    micro_batch: int  # images computed at once


class use_ema:
    """Swap in the averaged weights inside the context; do nothing if there is no average."""

    def __init__(self, state: TrainState):
        self.state = state

    def __enter__(self) -> None:
        self.swap()

    def __exit__(self, *_: object) -> None:
        self.swap()

    def swap(self) -> None:
        """Exchange the weights and their average."""
        if self.state.ema is not None:
            for parameter, average in zip(self.state.network.parameters(), self.state.ema):
                parameter.data, average.data = average.data, parameter.data


def save_checkpoint(state: TrainState, loaded: models.LoadedModel, run: Run, final: bool = False) -> bool:
    """Save a checkpoint of ``loaded.network``; return whether that worked.

    The ``final`` one has no optimizer state and replaces all others.
    """
    moments = {} if final else state.optimizer.state_dict()["state"]
    tensors = {f"{i}.{key}": value for i, entry in moments.items() for key, value in entry.items() if value is not None}

    def write_weights(path: Path) -> None:
        models.save_model(path, state.network, loaded.model, loaded.classes, loaded.res, loaded.names)

    def write(folder: Path) -> None:
        write_weights(folder / MODEL_FILE)
        if state.ema is not None:
            with use_ema(state):
                write_weights(folder / EMA_FILE)
        if tensors:
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(contiguous, folder / MOMENTS_FILE)
        counters = {"step": state.step, "micro_batch": state.micro_batch}
        (folder / COUNTERS_FILE).write_text(json.dumps(counters), encoding="utf-8")

    # run.computing has the micro-batch of the start, which running out of memory may have halved
    manifest = {"torch": torch.__version__, **run.computing, "micro_batch": state.micro_batch}
    size = checkpoint_size(state, 0 if final else count_bytes(tensors.values()))
    return run.save_checkpoint(state.step, write, size, final, manifest)


def checkpoint_size(state: TrainState, moments: int) -> int:
    """Return the bytes of a checkpoint: the weights, their average, and ``moments`` bytes of the optimizer."""
    return count_bytes(state.network.parameters()) * (1 + (state.ema is not None)) + moments


def count_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of some tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def restore_checkpoint(state: TrainState, checkpoint: Path) -> None:
    """Load the content of the folder ``checkpoint`` into ``state``; raise UserError if it is not of such a state."""
    try:
        restore_weights(state, checkpoint)
        counters = parse_json(read_small_text(checkpoint / COUNTERS_FILE))
        state.step, state.micro_batch = int(counters["step"]), int(counters["micro_batch"])
        if (checkpoint / MOMENTS_FILE).exists():  # a run's last checkpoint has none: no step follows
            restore_moments(state.optimizer, checkpoint / MOMENTS_FILE)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise UserError(
            f"{checkpoint} cannot be loaded, though it is what was saved: {reason}. Move it out of its folder to "
            "continue from the one before, or delete the folder of the run to start again.",
            ExitCode.CHECKPOINT,
        ) from None


def restore_weights(state: TrainState, checkpoint: Path) -> None:
    """Load the weights of a checkpoint, and their average if the state has one."""
    models.restore_weights(state.network, checkpoint / MODEL_FILE)
    if state.ema is not None:
        weights = [p.detach().clone() for p in state.network.parameters()]
        models.restore_weights(state.network, checkpoint / EMA_FILE)
        state.ema = [p.detach().clone() for p in state.network.parameters()]
        for parameter, weight in zip(state.network.parameters(), weights):
            parameter.data.copy_(weight)


def restore_moments(optimizer: torch.optim.Optimizer, file: Path) -> None:
    """Load the state of an optimizer, whose options stay as they are."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(file).items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
