"""Record of how a run is computed (device, precision, ranks, threads), on which the bits of its weights depend."""

from collections.abc import Mapping
from typing import Any

import torch

from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


def describe_computing(machine: Machine, micro_batch: int) -> dict[str, Any]:
    """Return what ``about.json`` and the manifest of a checkpoint record as ``computing``."""
    return {
        "device": machine.device.type,
        "precision": "bf16" if machine.dtype == torch.bfloat16 else "fp32",
        "ranks": distributed.world_size(),
        "threads": machine.cores,
        "micro_batch": micro_batch,
    }


def describe_changes(before: Mapping[str, Any], computing: Mapping[str, Any]) -> str:
    """Return the end of a line that names what differs from the manifest ``before``; empty if nothing does."""
    changes = [
        f"{key} {now}, not {str(before.get(key))[:50]}" for key, now in computing.items() if before.get(key) != now
    ]
    return f" with {'; '.join(changes)}: the bits may differ from here on" if changes else ""
