"""Record of how a run is computed (device, precision, ranks, threads), on which the bits of its weights depend."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vitrun.engine.layout import Layout
from vitrun.models.compiled_windows import load_windows
from vitrun.models.gelu import load_gelu
from vitrun.models.window_attention import WindowAttention
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


def describe_computing(
    machine: Machine, layout: Layout, mode: str, compiled: bool, network: nn.Module
) -> dict[str, Any]:
    """Return what ``about.json`` and the manifest of a checkpoint record as ``computing``."""
    is_bf16_on_cpu = machine.device.type == "cpu" and machine.dtype == torch.bfloat16
    gelu = "compiled" if is_bf16_on_cpu and not compiled and load_gelu() is not None else "torch"
    return {
        "device": machine.device.type,
        "precision": machine.precision,
        "ranks": distributed.world_size(),
        **({"mode": mode} if distributed.world_size() > 1 else {}),
        "threads": machine.cores,
        **layout.describe(),
        "gelu": gelu,
        **describe_windows(machine, compiled, network),
        "compile": compiled,
    }


def describe_windows(machine: Machine, compiled: bool, network: nn.Module) -> dict[str, str]:
    """Return how attention in windows is computed on a CPU, if the network has it."""
    if machine.device.type != "cpu" or not any(isinstance(module, WindowAttention) for module in network.modules()):
        return {}
    return {"windows": "compiled" if not compiled and load_windows() is not None else "torch"}


def describe_changes(before: Mapping[str, Any], computing: Mapping[str, Any]) -> str:
    """Return the end of a line that names what differs from the manifest ``before``; empty if nothing does."""
    changes = [
        f"{key} {now}, not {str(before[key])[:50]}"
        for key, now in computing.items()
        if key in before and before[key] != now
    ]
    return f" with {'; '.join(changes)}: the bits may differ from here on" if changes else ""
