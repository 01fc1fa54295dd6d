"""Compare the steps of vitrun on a GPU with those of timm's train.py, compiled and not, in one short run.

    python scripts/bench_gpu.py                    # B/16, L/16 and BiT-R50x1 at 224 in bf16, some ten minutes
    python scripts/bench_gpu.py --device cpu --models vit_nano8 --res 32 --batch 8 --steps 2 --backend eager

A step begins with bytes in pinned memory, where both loaders leave them, and ends with the update of the weights:
AdamW, gradients clipped to norm 1, softmax loss of 1,000 classes. vitrun's step is that of ``pretrain``; timm's is that
of train.py with ``--amp --amp-dtype bfloat16 --clip-grad 1``, and with ``--torchcompile``. Both networks have GELU in
its tanh form. The table has images per second, their ratio to timm's compiled step, the model FLOP utilization (two
FLOP a multiply-add, a backward pass as two forward passes, of the GPU's published peak in ``conf/accelerator``), the
peak of allocated memory, and the seconds of the first step, which compiles. ``--profile`` adds the kernels of two
compiled steps of vitrun.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from time import perf_counter
from typing import NamedTuple

import numpy as np
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.utils import dispatch_clip_grad
from torch.nn import functional

from vitrun import data, models
from vitrun.config import resolve
from vitrun.engine import compiling, initial_state
from vitrun.engine.ahead import can_run_ahead, fit_ahead
from vitrun.engine.fit_options import FitOptions
from vitrun.engine.loop import fit
from vitrun.objectives.labels import LabelObjective
from vitrun.recipes import tables
from vitrun.recipes.accelerator import parse_devices
from vitrun.runtime.device import Machine
from vitrun.runtime.text_tables import format_table

CLASSES, WARM, BATCHES = 1000, 5, 4  # steps before the timed ones; batches that are used in turn
NANO = {"patch_size": 8, "embed_dim": 64, "depth": 4, "num_heads": 4}
PEERS = {  # timm's networks, with what differs
    "vit_b16": ("vit_base_patch16_224", {}),
    "vit_l16": ("vit_large_patch16_224", {}),
    "bit_r50x1": ("resnetv2_50x1_bit", None),
    "vit_nano8": ("vit_tiny_patch16_224", NANO),  # of about this size, to try the script
}
HEADER = ["model", "step", "images/s", "of timm, compiled", "MFU", "memory, GB", "first step, s"]


class Times(NamedTuple):
    """Speed and memory of a program."""

    speed: float  # images a second
    memory: float | None  # GB, of a GPU
    first: float  # seconds of the first step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--models", default="vit_b16,vit_l16,bit_r50x1", help="of " + ", ".join(PEERS))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30, help="timed steps")
    parser.add_argument("--res", type=int, default=224)
    parser.add_argument("--backend", default="inductor", help="of torch.compile; eager generates no code")
    parser.add_argument("--tflops", type=float, help="peak of the GPU in bf16, if conf/accelerator does not have it")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    compiling.BACKEND = options.backend
    machine = Machine(options.device, "bf16")
    peak = options.tflops or find_peak(machine)
    rows = []
    for model in options.models.split(","):
        times = {name: measure(machine, run, options) for name, run in list_programs(model, machine, options).items()}
        macs = models.count_macs(tables.load_model_row(model), CLASSES, options.res)
        rows += [[model, name, *format_times(time, times, macs, peak)] for name, time in times.items()]
        print(format_table(HEADER, rows), flush=True)
    if options.profile:
        profile(machine, list_programs(options.models.split(",")[0], machine, options)["vitrun, compiled"])


def find_peak(machine: Machine) -> float | None:
    """Return the published TFLOP/s of a GPU in bf16; None for a CPU, or a GPU that no row of conf/accelerator names."""
    if machine.device.type == "cpu":
        return None
    name = torch.cuda.get_device_name(machine.device).lower()
    kinds = [kind for kind in tables.list_group_files("accelerator") if kind in name]
    return parse_devices(kinds[0]).kind.tflops if kinds else None


def format_times(time: Times, times: dict[str, Times], macs: int, peak: float | None) -> list[str]:
    """Return the cells of a row."""
    mfu = f"{6 * macs * time.speed / (peak * 1e12):.1%}" if peak else "-"
    memory = "-" if time.memory is None else f"{time.memory:.1f}"
    return [f"{time.speed:.1f}", f"{time.speed / times['timm, compiled'].speed:.2f}", mfu, memory, f"{time.first:.1f}"]


def list_programs(
    model: str, machine: Machine, options: argparse.Namespace
) -> dict[str, Callable[[], Iterator[object]]]:
    """Return the programs by name; each, if called, returns an endless iterator of steps."""
    return {
        "vitrun": partial(take_vitrun_steps, model, False, machine, options),
        "vitrun, compiled": partial(take_vitrun_steps, model, True, machine, options),
        "timm": partial(take_timm_steps, model, False, machine.device, options),
        "timm, compiled": partial(take_timm_steps, model, True, machine.device, options),
    }


def measure(machine: Machine, run: Callable[[], Iterator[object]], options: argparse.Namespace) -> Times:
    """Return the speed and memory of a program; its network is freed afterwards."""
    is_cuda = machine.device.type == "cuda"
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch._dynamo.reset()
    steps, started, times = run(), perf_counter(), [0.0]
    for _ in islice(steps, WARM + options.steps):
        times.append(perf_counter() - started)
    steps.close()
    memory = torch.cuda.max_memory_allocated() / 1e9 if is_cuda else None
    return Times(options.batch * options.steps / (times[-1] - times[WARM]), memory, times[1])


def take_vitrun_steps(model: str, compiled: bool, machine: Machine, options: argparse.Namespace) -> Iterator[object]:
    """Yield the report of each step of ``pretrain`` when the device has computed it."""
    overrides = [f"model={model}", f"res={options.res}", f"batch={options.batch}", "optim=adamw", "clip=1", "ema=null"]
    recipe = resolve.resolve_recipe("pretrain", [*overrides, "data=shapes", f"compile={str(compiled).lower()}"])
    loaded = models.LoadedModel(
        models.build(recipe.model, CLASSES, options.res), recipe.model, CLASSES, options.res, None
    )
    state, objective = initial_state.build_state(recipe, loaded, machine), LabelObjective.from_recipe(recipe)
    state.compiled = compiling.compile_network(recipe, loaded, None, machine, 0)
    fit_options = FitOptions(
        objective.loss, options.batch, lambda step: 1e-3, recipe.clip, None, 0, machine, lambda images: None
    )
    loop = fit_ahead if can_run_ahead(state, machine) else fit
    return loop(state, make_batches(objective, machine, options), fit_options)


def make_batches(objective: LabelObjective, machine: Machine, options: argparse.Namespace) -> Iterator[data.Batch]:
    """Yield batches as the loader of ``pretrain`` does, endlessly."""
    indices = np.arange(options.batch)
    batches = [
        objective.prepare(data.Batch(make_bytes(options, n), make_labels(options), indices), n) for n in range(BATCHES)
    ]
    batches = [batch.pin() for batch in batches] if machine.device.type == "cuda" else batches
    while True:
        yield from batches


def make_bytes(options: argparse.Namespace, seed: int) -> torch.Tensor:
    """Return random images, uint8 [B, 3, R, R]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (options.batch, 3, options.res, options.res), generator=generator, dtype=torch.uint8)


def make_labels(options: argparse.Namespace) -> torch.Tensor:
    """Return labels [B]."""
    return torch.arange(options.batch) % CLASSES


def take_timm_steps(model: str, compiled: bool, device: torch.device, options: argparse.Namespace) -> Iterator[object]:
    """Yield after each step of train.py; wait for the device after the first, before the timed steps and after them."""
    name, changes = PEERS[model]
    arguments = {} if changes is None else {"img_size": options.res, "act_layer": "gelu_tanh", **changes}
    network = timm.create_model(name, num_classes=CLASSES, **arguments).to(device).train()
    optimizer = create_optimizer_v2(network, opt="adamw", lr=1e-3, weight_decay=0.05)
    forward = torch.compile(network, backend=options.backend) if compiled else network
    batches = [(make_bytes(options, n), make_labels(options)) for n in range(BATCHES)]
    if device.type == "cuda":
        batches = [tuple(tensor.pin_memory() for tensor in batch) for batch in batches]
    number = 0
    while True:
        pixels, labels = (tensor.to(device, non_blocking=True) for tensor in batches[number % BATCHES])
        images = pixels.float().sub_(127.5).div_(127.5)
        with torch.autocast(device.type, torch.bfloat16):
            loss = functional.cross_entropy(forward(images), labels)
        loss.backward()
        dispatch_clip_grad(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        number += 1
        if device.type == "cuda" and number in (1, WARM, WARM + options.steps):
            torch.cuda.synchronize()
        yield number


def profile(machine: Machine, run: Callable[[], Iterator[object]]) -> None:
    """Print what the device does in two steps."""
    steps = run()
    for _ in islice(steps, WARM):
        pass
    with torch.profiler.profile() as profiler:
        for _ in islice(steps, 2):
            pass
    steps.close()
    order = "self_device_time_total" if machine.device.type == "cuda" else "self_cpu_time_total"
    print(profiler.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=60))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
