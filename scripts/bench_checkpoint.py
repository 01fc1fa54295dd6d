"""Measure what saving a checkpoint, and handling faults, cost training, by steps that alternate in one run.

    python scripts/bench_checkpoint.py model=vit_b16 res=224 batch=32
    python scripts/bench_checkpoint.py --faults model=vit_b16 res=224 batch=16 --rounds 20

The first measures windows of steps with and without a save at their start, beside training and in line. A window ends
with the step in which the save beside training has ended, so that its delay is counted whole. The second
alternates the trainer's steps with those of a plain loop without checks of the loss and the gradient, signals, metrics
and progress. Both train on one batch of drawn shapes, which is made in advance. The machine should be idle.
"""

# ruff: noqa: E402
from vitrun.runtime import environment

environment.keep_freed_memory()  # as the command line does, before torch is imported
environment.share_cores()

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple
from unittest.mock import patch

import torch

from vitrun import data
from vitrun.commands import pretrain
from vitrun.config import resolve
from vitrun.engine.optim import list_trained
from vitrun.engine.saved_state import save_checkpoint
from vitrun.engine.trainer import Trainer
from vitrun.runs import execution
from vitrun.runtime.console import Screen
from vitrun.runtime.text_tables import format_table

Measure = Callable[[Trainer, data.Batch], Iterator[data.Batch]]  # yields the batches that the trainer trains on
SAVES = ("no save", "a save in line", "a save beside training")
LOOPS = ("plain loop", "trainer")


class Window(NamedTuple):
    """Measured time of some steps."""

    wall: float  # seconds
    cpu: float  # seconds, of all threads
    steps: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", action="store_true", help="measure the handling of faults")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    windows: dict[str, list[Window]] = {name: [] for name in (LOOPS if options.faults else SAVES)}
    measure = compare_loops if options.faults else compare_saves
    train(options.overrides, lambda trainer, batch: measure(trainer, batch, options.rounds, windows))
    first = next(iter(windows.values()))
    rows = [[name, *summarize(first, other)] for name, other in windows.items()]
    print(format_table(["", "seconds a step", "delay", "of a step", "CPU seconds more", "of a step"], rows))
    if not options.faults:
        print(f"A save beside training ended after {', '.join(str(window.steps) for window in first)} steps.")


def summarize(first: list[Window], other: list[Window]) -> list[str]:
    """Return the median seconds of a step, and by how much longer a window takes, in seconds and in steps."""
    cells = [f"{median(window.wall / window.steps for window in other):.3f}"]
    for clock in ("wall", "cpu"):
        more = median(getattr(b, clock) - getattr(a, clock) for a, b in zip(first, other))
        step = median(getattr(window, clock) / window.steps for window in first)
        cells += [f"{more:.3f}", f"{more / step:.1%}"]
    return cells


def compare_saves(
    trainer: Trainer, batch: data.Batch, rounds: int, windows: dict[str, list[Window]]
) -> Iterator[data.Batch]:
    """Yield the batches of windows with a save beside training, in line, and without one.

    The memory of the first copy, which the system has to clear once in a run, is not measured.
    """
    save_checkpoint(trainer.state, trainer.loaded, trainer.run, background=True)
    yield batch
    trainer.run.settle_save()
    for _ in range(rounds):
        steps = 1
        for name in SAVES[::-1]:
            started = perf_counter(), process_time()
            if name != "no save":
                save_checkpoint(trainer.state, trainer.loaded, trainer.run, background=name.endswith("training"))
            for _ in range(steps):
                yield batch
            while trainer.run.writer.pending is not None:
                yield batch
                steps += 1
            windows[name].append(measure_since(started, steps))


def compare_loops(
    trainer: Trainer, batch: data.Batch, rounds: int, windows: dict[str, list[Window]]
) -> Iterator[data.Batch]:
    """Yield the batches of single steps, each after a step of a plain loop."""
    yield batch
    parameters, loss = list_trained(trainer.state.network), trainer.objective.loss
    for _ in range(rounds):
        started = perf_counter(), process_time()
        take_plain_step(trainer, parameters, batch, loss)
        windows["plain loop"].append(measure_since(started, 1))
        started = perf_counter(), process_time()
        yield batch
        windows["trainer"].append(measure_since(started, 1))


def take_plain_step(trainer: Trainer, parameters: list, batch: data.Batch, loss: Callable) -> None:
    """Compute the gradient as the trainer does, by workers and micro-batches, and update the weights."""
    state, machine = trainer.state, trainer.machine
    starts = list(range(0, len(batch.labels), state.micro_batch))
    workers = min(machine.workers_for(state.network), len(starts))

    def compute_gradients(worker: int) -> list[torch.Tensor]:
        sums = [torch.zeros_like(p) for p in parameters]
        with machine.autocast():
            for start in starts[worker::workers]:
                inputs, targets = batch.micro_batch(slice(start, start + state.micro_batch), machine.device)
                outputs = state.network(*inputs)
                with machine.no_autocast():
                    mean = loss(outputs, *targets).sum() / len(batch.labels)
                    torch._foreach_add_(sums, torch.autograd.grad(mean, parameters))
        return sums

    first, *others = machine.map(compute_gradients, range(workers), workers)
    for gradients in others:
        torch._foreach_add_(first, gradients)
    for parameter, gradient in zip(parameters, first):
        parameter.grad = gradient
    if trainer.recipe.clip:
        torch.nn.utils.clip_grad_norm_(parameters, trainer.recipe.clip)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)


def measure_since(started: tuple[float, float], steps: int) -> Window:
    """Return the window of so many steps since a wall-clock and a CPU time."""
    return Window(perf_counter() - started[0], process_time() - started[1], steps)


def train(overrides: list[str], measure: Measure) -> None:
    """Run ``vitrun pretrain`` on drawn shapes, with the batches of ``measure``."""
    make_batches = Trainer.make_batches

    def make_measured(trainer: Trainer, *args: object) -> Iterator[data.Batch]:
        batch = next(iter(make_batches(trainer, *args)))
        yield from measure(trainer, batch)

    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        images = ["data=shapes", "data.train_images=64", "data.test_images=8", "save_minutes=1000000"]
        recipe = resolve.resolve_recipe("pretrain", [*images, "steps=1000000", *overrides, f"runs={folder}"])
        with patch.object(Trainer, "make_batches", make_measured), patch.object(Trainer, "test", lambda _: {}):
            execution.execute_run("pretrain", recipe, Screen(quiet=True), pretrain.execute)


if __name__ == "__main__":
    main()
