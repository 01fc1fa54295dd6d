"""Trackers: TensorBoard, Weights & Biases, MLflow and Trackio, which show the metrics of runs.

``metrics.jsonl`` in the folder of the run is what counts: a tracker that fails is left out for the rest of the run,
after one warning. The packages are imported when a run names them.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from vitrun.recipes import trees

PROJECT = "vitrun"  # where no environment variable of the tracker names another
TRACKED_KEYS = ("loss", "norm", "lr", "seconds")  # of a training step; those of measurements during training all are


@dataclass(frozen=True)
class TrackedRun:
    """Description of a run for trackers."""

    name: str
    folder: Path
    key: str  # unlike that of any other run; the same whenever the run continues
    options: dict[str, Any]  # of the recipe, by their dotted names
    step: int  # the last one that trackers have for certain; 0 of a new run
    lines: Sequence[Mapping[str, Any]] = ()  # of metrics.jsonl with later steps, which they may not have


class Tracker(Protocol):
    """One program that shows metrics."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values at a step."""

    def flush(self) -> None:
        """Store what was added, so that a kill does not lose it."""

    def finish(self, result: Mapping[str, float] | None) -> None:
        """Add the values of a finished run, if it is one, and close."""


class TensorBoard:
    """Event files in the folder ``tensorboard`` of the run."""

    def __init__(self, run: TrackedRun):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.step + 1)
        if not run.step:
            table = "\n".join(f"    {key}={trees.format_value(value)}" for key, value in run.options.items())
            self.writer.add_text("recipe", table)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values at a step."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Write the events to the disk."""
        self.writer.flush()

    def finish(self, result: Mapping[str, float] | None) -> None:
        """Add the values of a finished run, if it is one, and close."""
        self.log(0, {f"result/{name}": value for name, value in (result or {}).items()})
        self.writer.close()


class WeightsAndBiases:
    """A run of ``wandb``; WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE=offline are its own settings."""

    def __init__(self, run: TrackedRun):
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run.name,
            id=run.key,
            resume="allow",
            dir=run.folder,
            config=run.options,
            settings=wandb.Settings(silent=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values at a step."""
        self.run.log(dict(values), step=step)

    def flush(self) -> None:
        """Do nothing: it is written as it is added."""

    def finish(self, result: Mapping[str, float] | None) -> None:
        """Add the values of a finished run, if it is one, and close."""
        self.run.summary.update({f"result/{name}": value for name, value in (result or {}).items()})
        self.run.finish()


class MlFlow:
    """A run of ``mlflow``; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are its own settings."""

    def __init__(self, run: TrackedRun):
        from mlflow import MlflowClient

        self.client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self.client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self.client.create_experiment(name)
        known = self.client.search_runs([number], f"tags.vitrun = '{run.key}'")
        if known:
            self.id = known[0].info.run_id
            self.client.set_terminated(self.id, "RUNNING")
        else:
            self.id = self.client.create_run(number, run_name=run.name, tags={"vitrun": run.key}).info.run_id
            for key, value in run.options.items():
                self.client.log_param(self.id, key, trees.format_value(value)[:500])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values at a step."""
        for name, value in values.items():
            self.client.log_metric(self.id, name, value, step=step)

    def flush(self) -> None:
        """Do nothing: it is written as it is added."""

    def finish(self, result: Mapping[str, float] | None) -> None:
        """Add the values of a finished run, if it is one, and close."""
        self.log(0, {f"result/{name}": value for name, value in (result or {}).items()})
        self.client.set_terminated(self.id, "FINISHED" if result is not None else "KILLED")


class TrackIo:
    """A run of ``trackio``, which stores it on this machine, in TRACKIO_DIR."""

    def __init__(self, run: TrackedRun):
        import trackio

        self.trackio = trackio
        name = f"{run.name}-{run.key[-8:]}"  # runs continue by their name, and that of a deleted one may come again
        self.run = trackio.init(project=PROJECT, name=name, config=run.options, resume="allow")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values at a step."""
        self.run.log(dict(values), step=step)

    def flush(self) -> None:
        """Do nothing: it is written as it is added."""

    def finish(self, result: Mapping[str, float] | None) -> None:
        """Add the values of a finished run, if it is one, and close."""
        if result:
            self.run.log({f"result/{name}": value for name, value in result.items()})
        self.trackio.finish()  # the method of the run is called again, and prints again, when the process ends


TRACKERS: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MlFlow,
    "trackio": TrackIo,
}


class Tracking:
    """The trackers of a run, which open with the first values; one that fails is dropped with a warning.

    Args:
        names: Of the trackers.
        describe: Returns the description of the run.
        warn: Called with the warning.
    """

    def __init__(self, names: Sequence[str], describe: Callable[[], TrackedRun], warn: Callable[[str], None]):
        self.names, self.describe, self.warn = names, describe, warn
        self.trackers: dict[str, Tracker] = {}

    def open(self, step: int | None = None) -> None:
        """Open the trackers, once, and pass on the lines that they may lack, of the steps before ``step``."""
        if not self.names:
            return
        names, self.names = self.names, ()
        run = self.describe()
        for name in names:
            with self.dropped_if_failing(name):
                self.trackers[name] = TRACKERS[name](run)
        for line in run.lines:
            if step is None or line["step"] < step:
                self.log(line)

    def log(self, values: Mapping[str, Any]) -> None:
        """Pass on a line of metrics with a ``step``: of a training step its ``TRACKED_KEYS``, of others all numbers.

        Where a checkpoint was saved, the trackers store what they have.
        """
        if "saved" in values:
            for name, tracker in list(self.trackers.items()):
                with self.dropped_if_failing(name):
                    tracker.flush()
        if not isinstance(step := values.get("step"), int):
            return
        self.open(step)
        keys = TRACKED_KEYS if "norm" in values else [key for key in values if key not in ("step", "attempt")]
        numbers = select_numbers({key: values[key] for key in keys if key in values})
        for name, tracker in list(self.trackers.items()):
            with self.dropped_if_failing(name):
                tracker.log(step, numbers)

    def finish(self, result: Mapping[str, Any] | None) -> None:
        """Close the trackers, with the numbers of the ``result`` of a finished run."""
        if result is not None:
            self.open()  # of a command without steps
        for name, tracker in list(self.trackers.items()):
            with self.dropped_if_failing(name):
                tracker.finish(None if result is None else select_numbers(result))
        self.trackers.clear()

    @contextmanager
    def dropped_if_failing(self, name: str) -> Iterator[None]:
        """Drop a tracker whose call fails, whatever its package raises; what it prints is not vitrun's output."""
        try:
            with redirect_stdout(StringIO()):
                yield
        except Exception as error:
            self.trackers.pop(name, None)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            install = f" Install it: pip install 'vitrun[{name}]'." if isinstance(error, ImportError) else ""
            with suppress(OSError):
                self.warn(f"track={name} failed and is left out from here on: {reason}{install}")


def select_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that are numbers."""
    kinds = (int, float)
    return {name: value for name, value in values.items() if isinstance(value, kinds) and not isinstance(value, bool)}


def make_key(name: str) -> str:
    """Return a new key of a run, in letters that every tracker takes."""
    return f"{name[-24:].strip('-')}-{uuid.uuid4().hex[:8]}"
