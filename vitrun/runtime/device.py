"""Device, its precision, and how many micro-batches are computed on it side by side."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from math import ceil
from typing import Any, TypeVar

import torch
from torch import nn

from vitrun.errors import ExitCode, UserError
from vitrun.runtime import distributed
from vitrun.runtime.environment import why_no_gpu
from vitrun.runtime.ranks import current_ranks

T = TypeVar("T")
# One micro-batch of a CPU worker, as measured fastest for ViT-Ti/8 (64 of 17 tokens), Ti/4 (16 of 65), B/16 (8 of 197):
CACHED_FEATURES = 2**19  # features of a layer, tokens times width, that still fit into the caches
MIN_MICRO_BATCH = 8  # images; with fewer, matrix products get too thin
MAX_WORKER_TOKENS = 2048  # bounds the memory of a worker
DEVICE_HINT = "Use device=cpu, or leave device out."
MAX_WORKERS = 8  # each worker has gradients of its own


class Machine:
    """Device, the data type of its matrix products, and the number of its workers.

    On a CPU a worker is a thread that computes whole micro-batches with its share of the cores: measured 5 to 20 %
    faster than all cores on one micro-batch, since small operations do not split well. A GPU has one worker.
    """

    def __init__(self, device: str, precision: str):
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.precision = "tf32" if precision == "tf32" else "bf16" if self.dtype == torch.bfloat16 else "fp32"
        set_float32_products(self.precision, self.device)
        self.cores = torch.get_num_threads()
        self.workers = min(self.cores, MAX_WORKERS) if self.device.type == "cpu" else 1
        self.pools: dict[int, ThreadPoolExecutor] = {}  # by the number of workers that share the cores
        # Threads that make batches: one beside a network on the CPU, since threads that wait for busy cores are slow.
        self.loader_threads = 1 if self.device.type == "cpu" else self.cores

    def __str__(self) -> str:
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else f"{self.device.type}, {self.cores} cores"
        ranks = f"{distributed.world_size()} ranks, each on " if distributed.world_size() > 1 else ""
        return f"{ranks}{name}, {self.precision}"

    @property
    def takes_levels(self) -> bool:
        """Return whether images are sent in 8 bits, to be scaled and mixed on the device.

        On a CPU each is scaled where it is resized, while it is in the caches.
        """
        return self.device.type == "cuda"

    @property
    def worker_threads(self) -> int:
        """Return the number of threads that compute a micro-batch."""
        return max(1, self.cores // self.workers)

    @property
    def processor(self) -> str:
        """Return the GPU's name, or the instruction sets that torch uses on this CPU: bits may differ by it."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
        return f"{self.device.type} {name}"

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which matrix products are computed in ``dtype``."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def no_autocast(self) -> AbstractContextManager[Any]:
        """Return a context inside :meth:`autocast` that suspends it."""
        return torch.autocast(self.device.type, enabled=False)

    def map(
        self, function: Callable[[Any], T], items: Sequence[Any], workers: int, sharing: int | None = None
    ) -> list[T]:
        """Return ``function`` of every item, in order, computed by this number of ``workers``.

        Each has the cores that it would have among that many workers ``sharing`` them; None means all of this machine.
        """
        return self.start(function, items, workers, sharing)()

    def start(
        self, function: Callable[[Any], T], items: Sequence[Any], workers: int, sharing: int | None = None
    ) -> Callable[[], list[T]]:
        """Start :meth:`map`; return the function that waits for its results. One worker computes them there."""
        if workers == 1:
            return lambda: [function(item) for item in items]
        sharing = sharing or self.workers
        if sharing not in self.pools:
            threads = max(1, self.cores // sharing)
            self.pools[sharing] = ThreadPoolExecutor(sharing, initializer=lambda: torch.set_num_threads(threads))
        results = self.pools[sharing].map(function, items)
        return lambda: list(results)

    def workers_for(self, network: nn.Module) -> int:
        """Return how many workers can train ``network``: one if a layer draws random numbers or has statistics."""
        random = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
        for module in network.modules():
            depth = getattr(module, "skip", 0) or getattr(module, "drop_prob", 0)  # stochastic, ours and timm's
            before_head = getattr(module, "drop_rate", 0)  # of timm
            if depth or before_head or isinstance(module, random) and getattr(module, "p", 1) > 0:
                return 1
        return self.workers


def copy_to(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Return copies of tensors on ``device``; a GPU makes those of pinned memory while it computes other things."""
    if device.type != "cuda":
        return [tensor.to(device, non_blocking=True) for tensor in tensors]
    copying, computing = make_copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        copies = [tensor.to(device, non_blocking=True) for tensor in tensors]
    computing.wait_stream(copying)
    for tensor in copies:
        tensor.record_stream(computing)  # its memory is not used again before this stream has read it
    return copies


@cache
def make_copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of a GPU on which images are copied to it."""
    return torch.cuda.Stream(device)


class HostCopy:
    """Copy of a few numbers from a device to main memory; only :meth:`read` waits for the device."""

    def __init__(self, numbers: torch.Tensor):
        self.numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=numbers.is_cuda)
        self.numbers.copy_(numbers, non_blocking=True)
        self.copied = torch.cuda.Event(blocking=True) if numbers.is_cuda else None
        if self.copied is not None:
            self.copied.record()

    def read(self) -> list[float]:
        """Return the numbers, once the device has computed them."""
        if self.copied is not None:
            self.copied.synchronize()
        return [float(number) for number in self.numbers.numpy()]


def choose_device(name: str) -> torch.device:
    """Return the device of that name, for ``auto`` the fastest one; each rank has a GPU of its own.

    Raise UserError (exit code 7) if there is no such device.
    """
    if name == "auto":
        use_mps = torch.backends.mps.is_available() and distributed.world_size() == 1
        name = "cuda" if torch.cuda.is_available() else "mps" if use_mps else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        why = f"torch {torch.__version__} finds no GPU that it can use: {explain_missing_gpu()}"
        raise UserError(f"{why} {DEVICE_HINT}", ExitCode.DEVICE, "device", name)
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"this machine has no Apple GPU. {DEVICE_HINT}", ExitCode.DEVICE, "device", name)
    if distributed.world_size() == 1 or name == "cpu":
        return torch.device(name)
    if name == "mps":
        raise UserError(
            f"the Apple GPU can serve one rank, not {distributed.world_size()}. {DEVICE_HINT}",
            ExitCode.DEVICE,
            "device",
            name,
        )
    gpus, ranks = torch.cuda.device_count(), current_ranks()
    local_rank = 0 if ranks.from_slurm and gpus == 1 else ranks.local_rank  # srun may show each task its own GPU only
    if local_rank >= gpus:
        raise UserError(
            f"this machine has {gpus} GPUs, and each rank needs one: start {gpus} ranks.",
            ExitCode.DEVICE,
            "device",
            name,
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def explain_missing_gpu() -> str:
    """Return why torch finds no NVIDIA GPU."""
    if not torch.backends.cuda.is_built():
        return "it is built for CPUs only."
    return why_no_gpu() or "nvidia-smi may say why."


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a precision; ``auto`` is bf16 if the device computes it faster than float32."""
    if precision == "auto":
        native = torch.cpu._is_avx512_bf16_supported() if device.type == "cpu" else device.type == "cuda"
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def set_float32_products(precision: str, device: torch.device) -> None:
    """Have a GPU compute float32 products and convolutions in TF32 if that is the ``precision``, else exactly.

    torch's default is TF32 for convolutions alone. Raise UserError (exit code 7) if the device has no TF32.
    """
    is_tf32, is_cuda = precision == "tf32", device.type == "cuda"
    if is_tf32 and not (is_cuda and torch.cuda.get_device_capability(device) >= (8, 0)):
        why = "is a format of NVIDIA GPUs from Ampere (A100, RTX 30) on: use fp32, or leave precision out."
        raise UserError(why, ExitCode.DEVICE, "precision", precision)
    if is_cuda:
        torch.set_float32_matmul_precision("high" if is_tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = is_tf32


def choose_micro_batch(batch: int, tokens: int, width: int, device: torch.device, workers: int) -> int:
    """Return the images to compute at once: on a GPU the whole batch; on a CPU what fits into a worker's caches."""
    if device.type != "cpu":
        return batch
    fast = max(MIN_MICRO_BATCH, CACHED_FEATURES // (tokens * width))
    return divide_batch(batch, max(1, min(batch // workers, fast, MAX_WORKER_TOKENS // tokens)))


def divide_batch(batch: int, fitting: int) -> int:
    """Return the images to compute at once if that many fit: a number that divides the batch if it is more than half.

    Else the batch is cut into equal parts, of which the last one may be smaller.
    """
    divisor = max(m for m in range(1, fitting + 1) if batch % m == 0)
    return divisor if 2 * divisor > fitting else ceil(batch / ceil(batch / fitting))


def explain_single_image(batch: int, tokens: int, workers: int) -> str:
    """Return why :func:`choose_micro_batch` chose one image at a time."""
    if batch < 2 * workers:
        return f"a batch of {batch} has no more for each of {workers} workers"
    return f"an image has {tokens} tokens, and a worker computes at most {MAX_WORKER_TOKENS} at once"
