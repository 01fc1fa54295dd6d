"""Plan of a run, as it is logged before the first step, and the memory that a process has used."""

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from vitrun import models
from vitrun.data.transforms.randaugment import explain_blank_images
from vitrun.engine.initial_state import count_tokens
from vitrun.engine.optim import list_trained
from vitrun.engine.sharing import describe_parts
from vitrun.engine.state import TrainState
from vitrun.recipes import Training
from vitrun.recipes.macs import count_exaflop
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine, explain_single_image


@dataclass(frozen=True)
class Plan:
    """Training of a network: its size, its steps, and how they are computed."""

    recipe: Training
    loaded: models.LoadedModel
    state: TrainState
    machine: Machine
    steps: int
    train_images: int  # of an epoch

    @cached_property
    def image_macs(self) -> int:
        """Return the multiply-adds of an image in one forward pass."""
        return models.count_macs(self.loaded.model, self.loaded.classes, self.loaded.res)

    def describe(self) -> Iterator[str]:
        """Yield lines about the network, the run, and how several ranks or torch.compile compute it."""
        row, res, batch = self.loaded.model, self.loaded.res, self.recipe.batch
        unlabelled = self.recipe.step_images - batch  # which no epoch counts
        parameters = sum(parameter.numel() for parameter in self.loaded.network.parameters())
        trained = sum(parameter.numel() for parameter in list_trained(self.loaded.network))
        part = f" ({trained / 1e6:.3g} M of them trained)" if trained < parameters else ""
        extra = f" and {unlabelled} unlabelled ones" if unlabelled else ""
        cost = f"{self.image_macs / 1e9:.3g} GMAC per image"
        exaflop = count_exaflop(self.image_macs, self.steps * self.recipe.step_images)
        yield f"model: {row.name} at {res} px, {parameters / 1e6:.1f} M parameters{part}, {cost}"
        yield (
            f"plan: {self.steps} steps of {batch} images{extra} ({self.steps * batch / self.train_images:.1f} epochs, "
            f"{exaflop:.2g} exaFLOP), micro-batch {self.state.micro_batch}, on {self.machine}"
        )
        if self.state.compiled is not None:
            yield "compile: torch.compile compiles the network first, which takes a minute or more"
        if self.state.is_divided or self.recipe.mode == "fsdp":
            yield describe_parts(self.state.parallel)

    def list_warnings(self) -> Iterator[str]:
        """Yield why a CPU computes one image at a time, and why training images are blank, if that is so."""
        share, is_cpu = self.recipe.step_images // distributed.world_size(), self.machine.device.type == "cpu"
        if self.recipe.micro_batch == "auto" and is_cpu and self.state.micro_batch == 1 < share:
            workers = self.machine.workers_for(self.loaded.network)
            yield f"one image at a time: {explain_single_image(share, count_tokens(self.loaded), workers)}"
        augment = self.recipe.augment
        if why := explain_blank_images(augment.randaugment, augment.layers, augment.magnitude, self.loaded.res):
            yield why


def peak_memory(device: torch.device) -> int:
    """Return the most bytes used so far: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
