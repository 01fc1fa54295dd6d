"""Interfaces of objectives and probes, which a command builds and passes to the trainer."""

from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor, nn

from vitrun import models
from vitrun.data import Batch, Split
from vitrun.engine.progress import Meter
from vitrun.engine.state import TrainState
from vitrun.recipes import Model
from vitrun.runs.metrics import Result
from vitrun.runtime.device import Machine


class Objective(Protocol):
    """Training objective: its batches, its loss and its metrics. Each one is a file in ``objectives/``."""

    def check_data(self, *splits: Split) -> None:
        """Raise UserError if a split lacks what the objective needs, such as one label per image."""

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained network for images of ``res`` pixels, with what the objective adds to it."""

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch with the inputs and targets of a training step; draw from (seed, step) only."""

    @property
    def loss(self) -> Callable[..., Tensor]:
        """Return the loss function: outputs of the network and targets -> the loss of each image, [B]."""

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return the metrics of the test images, each counted once; evaluations are compared by the first metric.

        ``predictions``, if it is among them, are the :class:`~vitrun.engine.inference.Predictions` that the run saves
        in ``preds.parquet``, ``detections`` the :class:`~vitrun.engine.detection.FoundBoxes` of ``detections.json``.
        """


class Probe(Protocol):
    """A measurement of the network during training, which does not change what is trained."""

    def open(self, steps: int) -> None:
        """Open the images before a run of ``steps`` steps starts."""

    def probe_if_due(self, state: TrainState, meter: Meter, last: bool = False) -> None:
        """Measure the network if that is due at this step or it is the ``last`` one; leave it in training mode."""

    def summary(self, state: TrainState) -> Result:
        """Return the metrics of the last measurement, for the result."""
