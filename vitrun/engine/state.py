"""What training changes, and how it is saved and found again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitrun import models
from vitrun.recipes import BiT, Timm, ViT
from vitrun.runs.run import Run


@dataclass
class TrainState:
    """What training changes, and all that a checkpoint has to hold."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    ema: list[Tensor] | None  # the Polyak average, in the order of ``network.parameters()``
    step: int  # steps done
    micro_batch: int


class use_ema:
    """Inside, the network has its averaged weights, where there are any."""

    def __init__(self, state: TrainState):
        self.state = state

    def __enter__(self) -> None:
        self.swap()

    def __exit__(self, *_: Any) -> None:
        self.swap()

    def swap(self) -> None:
        if self.state.ema is not None:
            for parameter, mean in zip(self.state.network.parameters(), self.state.ema):
                kept = parameter.data
                parameter.data = mean.data
                mean.data = kept


def save_checkpoint(
    state: TrainState, model: ViT | BiT | Timm, names: Sequence[str], res: int, run: Run, final: bool = False
) -> bool:
    """Save a checkpoint, and tell if that worked; the final one has no optimizer state, and replaces all others.

    ``names`` are those of the classes.
    """
    moments = {} if final else state.optimizer.state_dict()["state"]
    packed = {
        f"{i}.{kind}": value for i, entry in moments.items() for kind, value in entry.items() if value is not None
    }

    def write(folder: Path) -> None:
        models.save_model(folder / "model.safetensors", state.network, model, len(names), res, names)
        if state.ema is not None:
            with use_ema(state):
                models.save_model(folder / "ema.safetensors", state.network, model, len(names), res, names)
        if packed:
            save_file(
                {name: tensor.contiguous() for name, tensor in packed.items()}, folder / "train_state.safetensors"
            )
        facts = {"step": state.step, "micro_batch": state.micro_batch}
        (folder / "train_state.json").write_text(json.dumps(facts), encoding="utf-8")

    facts = {"torch": torch.__version__, **run.computing, "micro_batch": state.micro_batch}  # which memory may halve
    return run.save_checkpoint(state.step, write, checkpoint_size(state, final), final, facts)


def checkpoint_size(state: TrainState, final: bool = False) -> int:
    """The bytes of a checkpoint: weights, their average, and but for the ``final`` one the optimizer's moments."""
    moments = 1 if isinstance(state.optimizer, torch.optim.SGD) else 2
    weights = sum(p.numel() * p.element_size() for p in state.network.parameters())
    return weights * (1 + (state.ema is not None) + (0 if final else moments))


def restore_checkpoint(state: TrainState, checkpoint: Path) -> None:
    """Put a checkpoint's content into ``state``."""
    models.restore_weights(state.network, checkpoint / "model.safetensors")
    if state.ema is not None:
        weights = [p.detach().clone() for p in state.network.parameters()]
        models.restore_weights(state.network, checkpoint / "ema.safetensors")
        state.ema = [p.detach().clone() for p in state.network.parameters()]
        for parameter, weight in zip(state.network.parameters(), weights):
            parameter.data.copy_(weight)
    facts = json.loads((checkpoint / "train_state.json").read_text(encoding="utf-8"))
    state.step, state.micro_batch = facts["step"], facts["micro_batch"]
    if (checkpoint / "train_state.safetensors").exists():  # a run's last checkpoint has none: there is no step to come
        packed: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(checkpoint / "train_state.safetensors").items():
            number, _, kind = name.partition(".")
            packed.setdefault(int(number), {})[kind] = tensor
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": packed, "param_groups": groups})
