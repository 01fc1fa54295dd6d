"""Layout of the steps of a run: that of its checkpoint, a measured one, or the one of a rule."""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from time import perf_counter
from typing import Any

import torch

from vitrun import models
from vitrun.data import Batch
from vitrun.engine.buffers import copy_buffers, restore_buffers
from vitrun.engine.fit_options import FitOptions
from vitrun.engine.layout import Layout, list_neighbours
from vitrun.engine.layout_search import Clock, cache_key, find_fastest, measure_once
from vitrun.engine.loop import accumulate_in_memory, count_workers
from vitrun.engine.optim import list_trained
from vitrun.engine.state import TrainState
from vitrun.engine.step_memory import StepMemory, fit_micro_batch, measure_step
from vitrun.errors import OutOfMemory
from vitrun.recipes import Training
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.memory import Memory, available_memory

SAME_COMPUTING = ("device", "precision", "ranks", "threads")  # where a checkpoint was saved and is resumed


def get_layout(state: TrainState, machine: Machine) -> Layout:
    """Return the layout of a state, with what it leaves open by the rule.

    Attention is fused on a GPU and in float32, but not in bf16 on a CPU, where its backward pass is slow.
    """
    fused = machine.device.type == "cuda" or machine.dtype == torch.float32
    return Layout(state.micro_batch, count_workers(state, machine), fused if state.fused is None else state.fused)


def set_layout(state: TrainState, layout: Layout) -> None:
    """Let ``state`` compute in a layout from now on."""
    state.micro_batch, state.workers, state.fused = layout.micro_batch, layout.workers, layout.fused


def restore_layout(state: TrainState, manifest: Mapping[str, Any], computing: Mapping[str, Any]) -> None:
    """Let ``state`` compute in the layout of its checkpoint, if it was saved where ``computing`` is the same.

    The micro-batch stays: it was restored with the counters.
    """
    layout = Layout.parse(manifest)
    if layout is not None and all(manifest.get(key) == computing.get(key) for key in SAME_COMPUTING):
        set_layout(state, replace(layout, micro_batch=state.micro_batch))


@dataclass(frozen=True)
class StepLayouts:
    """Layouts of a run's steps on a CPU: which fit into memory, and which is the fastest."""

    recipe: Training
    loaded: models.LoadedModel
    state: TrainState
    options: FitOptions
    make_batch: Callable[[int], Batch]  # of made-up images
    moments: int  # bytes of the optimizer's state, which it allocates in its first step
    run: Run

    @property
    def machine(self) -> Machine:
        """Return the device that computes."""
        return self.options.machine

    @property
    def images(self) -> int:
        """Return the images of a step on this rank."""
        return self.recipe.step_images // distributed.world_size()

    @cached_property
    def free(self) -> Memory | None:
        """Return the memory that each rank can still get, of the rank with the least; None where it is not known."""
        hosts = distributed.all_gather_object(platform.node())
        memories = distributed.all_gather_object(available_memory(hosts.count(platform.node())))
        return None if None in memories else min(filter(None, memories))

    def check_memory(self) -> None:
        """Lower ``micro_batch=auto`` so that a step fits into memory; raise UserError if it cannot fit."""
        if self.free is not None:
            rest = (self.images, self.options, self.moments, self.free.size)
            memory = measure_step(replace(self.state, compiled=None), self.make_batch(2), *rest)
            fit_micro_batch(self.state, memory, self.free, self.recipe.micro_batch == "auto", self.run.warn)

    def choose(self, images: int, measure: bool) -> None:
        """Let the state compute in the layout that was measured for such steps before, or is measured now.

        Leave that of the rule if none was measured, and a run of ``images`` is too short to ``measure`` one.
        """
        chosen = measure_once(self.key(), lambda: self.measure(images) if measure else None, self.run.log)
        if chosen is not None and self.allows(chosen):
            set_layout(self.state, chosen)

    def key(self) -> str:
        """Return the key of the measurement, with all that the time of a step depends on."""
        loaded, trained = self.loaded, sum(parameter.numel() for parameter in list_trained(self.state.network))
        network = (loaded.model, loaded.classes, loaded.res, trained, self.recipe.checkpointing)
        return cache_key(self.machine, self.images, *network, getattr(self.recipe, "objective", None))

    def measure(self, images: int) -> Layout | None:
        """Return the fastest layout and log it; None if a run of ``images`` is too short to measure."""
        start, clock = self.find_fitting(get_layout(self.state, self.machine)), Clock(self.time_pass)
        timed = None if start is None else find_fastest(start, self.list_neighbours, clock, images, self.images)
        if start is None or timed is None:
            return None
        fastest = min(timed, key=lambda layout: timed[layout])
        speeds = {layout: f"{distributed.world_size() / seconds:.3g} images/s" for layout, seconds in timed.items()}
        rule = "" if fastest == start else f"; {start}: {speeds[start]}"
        self.run.log(f"layout: {fastest}, {speeds[fastest]}, the fastest of {len(timed)} in {clock.spent:.1f} s{rule}")
        return fastest

    def find_fitting(self, layout: Layout) -> Layout | None:
        """Return a layout, with its micro-batch lowered to what surely fits into memory; None if no image does."""
        if self.free is None or self.allows(layout):
            return layout
        micro_batch = self.memories[layout.fused].choose_fitting(self.free.size, layout.micro_batch)
        return None if micro_batch is None else replace(layout, micro_batch=micro_batch)

    def list_neighbours(self, layout: Layout) -> Iterator[Layout]:
        """Yield the layouts next to one for which there is memory; with several ranks of the same number of workers."""
        network = self.state.network
        has_attention = any(hasattr(module, "fused_attn") for module in network.modules())
        for other in list_neighbours(layout, self.images, self.machine.workers_for(network), has_attention):
            if (distributed.world_size() == 1 or other.workers == layout.workers) and self.allows(other):
                yield other

    def allows(self, layout: Layout) -> bool:
        """Return whether a layout is one of this machine, with surely enough memory for a step."""
        workers = self.machine.workers_for(self.state.network)
        if layout.micro_batch > self.images or layout.workers > workers:
            return False
        if self.free is None:
            return True
        memory = replace(self.memories[layout.fused], workers=min(layout.workers, self.images))
        return memory.fits(layout.micro_batch, self.free.size)

    @cached_property
    def memories(self) -> dict[bool, StepMemory]:
        """Return the memory of a step with fused attention and without."""
        batch, rest = self.make_batch(2), (self.images, self.options, self.moments, 0)
        return {fused: measure_step(replace(self.state, fused=fused), batch, *rest) for fused in (True, False)}

    def time_pass(self, layout: Layout, images: int) -> float:
        """Return the seconds of the gradients of that many made-up images; infinite if the memory does not suffice."""
        batch, buffers = self.make_batch(images), copy_buffers(self.state.network)
        options = replace(self.options, images=images * distributed.world_size(), halve=False)
        state, parameters = replace(self.state), list_trained(self.state.network)
        set_layout(state, layout)
        started = perf_counter()
        try:
            with torch.random.fork_rng(devices=[]):
                accumulate_in_memory(state, parameters, batch, options, buffers)
        except OutOfMemory:
            return inf
        finally:
            restore_buffers(buffers)
            state.optimizer.zero_grad(set_to_none=True)
        return perf_counter() - started
