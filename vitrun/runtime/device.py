"""What the machine at hand is, and how work is laid out on it to be fast there."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import nn

from vitrun.errors import ExitCode, UserError
from vitrun.runtime import distributed

T = TypeVar("T")
# One micro-batch of a CPU lane, as measured fastest for ViT-Ti/8 (64 of 17 tokens), Ti/4 (16 of 65), B/16 (8 of 197):
CACHED_FEATURES = 2**19  # features of a layer, tokens times width, that still lie in the caches
MIN_MICRO_BATCH = 8  # images, below which products get too thin
MAX_WORKER_TOKENS = 2048  # that bound the memory of a lane
DEVICE_HINT = "Use device=cpu, or leave device out."
MAX_WORKERS = 8  # each lane holds gradients of its own


class Machine:
    """A device, the type its products are computed in, and how many lanes work side by side on it.

    On a CPU each lane is a thread that computes whole micro-batches with its share of the cores: measured 5 to 20 %
    faster than all cores on one micro-batch, since small operations do not split well. A GPU has one lane.
    """

    def __init__(self, device: str, precision: str):
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.cores = torch.get_num_threads()
        self.workers = min(self.cores, MAX_WORKERS) if self.device.type == "cpu" else 1
        self.pool: ThreadPoolExecutor | None = None
        # Cores that make batches: threads that wait for busy cores are slow, so beside a network on the CPU it is one.
        self.loader_threads = 1 if self.device.type == "cpu" else self.cores

    def __str__(self) -> str:
        what = torch.cuda.get_device_name() if self.device.type == "cuda" else f"{self.device.type}, {self.cores} cores"
        many = f"{distributed.world_size()} ranks, each on " if distributed.world_size() > 1 else ""
        return f"{many}{what}, {'bf16' if self.dtype == torch.bfloat16 else 'fp32'}"

    def autocast(self) -> AbstractContextManager:
        """Products in ``dtype`` inside."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def map(self, function: Callable[[Any], T], items: Sequence[Any], lanes: int) -> list[T]:
        """``function`` of every item, in order; items are taken by ``lanes`` threads."""
        if lanes == 1:
            return [function(item) for item in items]
        if self.pool is None:
            share = max(1, self.cores // self.workers)
            self.pool = ThreadPoolExecutor(self.workers, initializer=lambda: torch.set_num_threads(share))
        return list(self.pool.map(function, items))

    def workers_for(self, network: nn.Module) -> int:
        """How many lanes may train ``network``: one where a layer draws random numbers or keeps statistics."""
        random = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
        for module in network.modules():
            depth = getattr(module, "skip", 0) or getattr(module, "drop_prob", 0)  # stochastic, ours and timm's
            if depth or isinstance(module, random) and getattr(module, "p", 1) > 0:
                return 1
        return self.workers


def choose_device(name: str) -> torch.device:
    """The device of that name, for ``auto`` the fastest there is; each rank has a GPU of its own.

    A UserError where there is none.
    """
    if name == "auto":
        alone = torch.backends.mps.is_available() and distributed.world_size() == 1
        name = "cuda" if torch.cuda.is_available() else "mps" if alone else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"device=cuda: torch {torch.__version__} finds no GPU that it can use. {DEVICE_HINT}", ExitCode.DEVICE
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device=mps: this machine has no Apple GPU. {DEVICE_HINT}", ExitCode.DEVICE)
    if distributed.world_size() == 1 or name == "cpu":
        return torch.device(name)
    if name == "mps":
        raise UserError(
            f"device=mps: the one Apple GPU is for one rank, not {distributed.world_size()}. {DEVICE_HINT}",
            ExitCode.DEVICE,
        )
    here = int(os.environ.get("LOCAL_RANK", 0))
    if here >= (found := torch.cuda.device_count()):
        raise UserError(f"device=cuda: {found} GPUs are not one for each rank here: start {found}.", ExitCode.DEVICE)
    torch.cuda.set_device(here)
    return torch.device("cuda", here)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bf16 where asked for, or for ``auto`` where the device computes it faster than float32."""
    if precision == "auto":
        native = torch.cpu._is_avx512_bf16_supported() if device.type == "cpu" else device.type == "cuda"
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def choose_micro_batch(batch: int, tokens: int, width: int, device: torch.device, lanes: int) -> int:
    """Images computed at once: all of the batch on a GPU; on a CPU what stays in the caches, for every lane."""
    if device.type != "cpu":
        return batch
    fast = max(MIN_MICRO_BATCH, CACHED_FEATURES // (tokens * width))
    micro = max(1, min(batch // lanes, fast, MAX_WORKER_TOKENS // tokens))
    return max(m for m in range(1, micro + 1) if batch % m == 0)
