"""Size of a run, as the log names it before the first step, and the memory that a process has used."""

import resource
import sys
from dataclasses import dataclass
from functools import cached_property

import torch

from vitrun import models
from vitrun.engine.initial_state import count_tokens
from vitrun.engine.optim import list_trained
from vitrun.recipes.macs import count_exaflop
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine, explain_single_image


@dataclass(frozen=True)
class Plan:
    """Steps of a network on a machine."""

    loaded: models.LoadedModel
    machine: Machine
    steps: int
    batch: int  # images of a step, over all ranks
    train_images: int  # of an epoch
    micro_batch: int
    unlabelled: int = 0  # further images of a step, which no epoch counts

    @cached_property
    def image_macs(self) -> int:
        """Return the multiply-adds of an image in one forward pass."""
        return models.count_macs(self.loaded.model, self.loaded.classes, self.loaded.res)

    def describe(self) -> tuple[str, str]:
        """Return a line about the size of the network, and one about that of the run."""
        row, res = self.loaded.model, self.loaded.res
        parameters = sum(parameter.numel() for parameter in self.loaded.network.parameters())
        trained = sum(parameter.numel() for parameter in list_trained(self.loaded.network))
        part = f" ({trained / 1e6:.3g} M of them trained)" if trained < parameters else ""
        images, extra_images = self.steps * self.batch, self.steps * self.unlabelled
        extra = f" and {self.unlabelled} unlabelled ones" if self.unlabelled else ""
        cost = f"{self.image_macs / 1e9:.3g} GMAC per image"
        return (
            f"model: {row.name} at {res} px, {parameters / 1e6:.1f} M parameters{part}, {cost}",
            f"plan: {self.steps} steps of {self.batch} images{extra} ({images / self.train_images:.1f} epochs, "
            f"{count_exaflop(self.image_macs, images + extra_images):.2g} exaFLOP), micro-batch {self.micro_batch}, "
            f"on {self.machine}",
        )

    def explain_slow_micro_batch(self) -> str | None:
        """Return why a CPU computes one image at a time, if it does though a rank has several in a step."""
        share = (self.batch + self.unlabelled) // distributed.world_size()
        if self.machine.device.type != "cpu" or not self.micro_batch == 1 < share:
            return None
        workers = self.machine.workers_for(self.loaded.network)
        return f"one image at a time: {explain_single_image(share, count_tokens(self.loaded), workers)}"


def peak_memory(device: torch.device) -> int:
    """Return the most bytes used so far: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
