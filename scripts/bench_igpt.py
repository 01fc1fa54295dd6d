"""Compare ImageGPT's training step with transformers', and sampling with a cache with sampling without, in turn.

    python scripts/bench_igpt.py model=igpt_nano res=32 batch=8 --rounds 3

Prints images per second of a training step (forward, loss and backward) of vitrun in the precision that ``auto``
chooses, and of transformers in each attention and precision that it has, then sampled pixels per second; ratios are
medians over rounds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional
from transformers import ImageGPTForCausalImageModeling

from vitrun import models
from vitrun.models.export import export_model
from vitrun.models.igpt import choose
from vitrun.objectives.pixels import colour_losses
from vitrun.recipes import tables
from vitrun.runtime.device import Machine

PIXELS = 16  # that are sampled of an image's second half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    chosen = {"model": "igpt_nano", "res": "32", "batch": "8"} | dict(o.split("=") for o in options.overrides)
    res, batch = int(chosen["res"]), int(chosen["batch"])
    torch.manual_seed(0)
    network = models.build_pixel_predictor(tables.load_model_rows()[chosen["model"]], res)
    torch.nn.init.normal_(network.lm_head.weight, std=0.02)
    ids = torch.randint(0, network.row.colours, (batch, res**2))
    compare(training_steps(network, ids, res), options.rounds, options.steps, "images/s of a training step")
    compare(samplers(network.eval(), ids[:1], res), options.rounds, 1, "sampled pixels/s")


def compare(functions: dict[str, Callable[[], int]], rounds: int, steps: int, unit: str) -> None:
    """Print the speed of each function, which returns how much it did, and the first's median ratio to each other."""
    speeds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()  # warm up
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            done = sum(function() for _ in range(steps))
            speeds[name].append(done / (time.perf_counter() - start))
    first, *others = speeds
    for name, values in speeds.items():
        print(f"{name:40} {', '.join(f'{value:.3g}' for value in values)} {unit}")
    for name in others:
        ratio = median(ours / theirs for ours, theirs in zip(speeds[first], speeds[name]))
        print(f"{first} is {ratio:.2f} times {name}")


def training_steps(network: models.IGpt, ids: Tensor, res: int) -> dict[str, Callable[[], int]]:
    """Return a training step of vitrun, and of transformers in each of its settings."""
    machine = Machine("cpu", "auto")
    images = network.paint(ids).permute(0, 3, 1, 2) / 127.5 - 1
    empty = torch.zeros(len(ids), 0, dtype=torch.bool)
    inputs = torch.cat([torch.full((len(ids), 1), network.row.colours), ids[:, :-1]], 1)

    def ours() -> int:
        network.train().zero_grad()
        with machine.autocast():
            outputs = network(images, empty)
        colour_losses(*outputs).mean().backward()
        return len(ids)

    steps: dict[str, Callable[[], int]] = {f"vitrun, {machine.dtype}": ours}
    with tempfile.TemporaryDirectory() as scratch:
        export_model(network, res, "hf", Path(scratch) / "imagegpt", "")
        for attention in ("eager", "sdpa"):
            try:
                theirs = ImageGPTForCausalImageModeling.from_pretrained(
                    Path(scratch) / "imagegpt", attn_implementation=attention
                ).train()
            except ValueError as error:
                print(f"transformers has no ImageGPT with {attention}: {str(error).splitlines()[0][:100]}")
                continue
            for dtype in dict.fromkeys([torch.float32, machine.dtype]):
                steps[f"transformers, {attention}, {dtype}"] = transformers_step(theirs, inputs, ids, dtype)
    return steps


def transformers_step(network: torch.nn.Module, inputs: Tensor, ids: Tensor, dtype: torch.dtype) -> Callable[[], int]:
    """Return a training step of transformers' network."""

    def step() -> int:
        network.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = network(input_ids=inputs, use_cache=False).logits
        functional.cross_entropy(logits.flatten(0, 1).float(), ids.flatten()).backward()
        return len(ids)

    return step


def samplers(network: models.IGpt, ids: Tensor, res: int) -> dict[str, Callable[[], int]]:
    """Return functions that sample an image's second half with the cache, and ``PIXELS`` of it without.

    Without it each pixel needs a forward pass over all pixels before it.
    """
    draws = torch.rand(1, res**2, dtype=torch.float64)
    half = res**2 // 2

    def with_cache() -> int:
        return len([*network.sample(ids[:, :half], draws, 1.0)]) - half

    @torch.inference_mode()
    def without_cache() -> int:
        for position in torch.linspace(half, res**2 - 1, PIXELS).long().tolist():
            logits = network.lm_head(network.encode(ids[:, : position + 1])[:, position])
            choose(logits.double(), draws[:, position], 1.0, 0)
        return PIXELS

    return {"sampling with the cache": with_cache, "sampling without": without_cache}


if __name__ == "__main__":
    main()
