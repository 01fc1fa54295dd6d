"""How training goes: shown, recorded, foretold, and stopped where the user asked."""

import time
from typing import Any

from vitrun.engine.loop import Step
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.console import format_duration, format_speed

SLOW_STEP_SECONDS = 10  # seconds of a step, after which its images are counted
LONG_RUN_SECONDS = 20 * 60  # seconds of training from which the first estimate is worth a line of its own
ETA_SECONDS = 20  # seconds after which that estimate is made even if no step is done,
ETA_MICRO_BATCHES = 4  # and micro-batches; the very first, which finds nothing prepared, counts for neither


class Meter:
    """Shows and records how training goes, and stops it where the user asked."""

    def __init__(self, run: Run, start: int, steps: int, batch: int):
        self.run, self.steps, self.batch, self.start, self.number = run, steps, batch, start, start
        self.began = self.last_shown = time.monotonic()
        self.images = self.data_seconds = self.step_seconds = 0.0
        self.ticks, self.first_tick = 0, (0.0, 0.0)  # when the first micro-batch was done, and its images
        self.eta_printed = False
        self.progress = run.screen.progress(run.command, steps, start)

    def __enter__(self) -> "Meter":
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def tick(self, images: int) -> None:
        """Count a micro-batch; end the step unfinished where the run is asked to stop."""
        self.images += images * distributed.world_size()
        self.ticks += 1
        self.run.raise_if_interrupted(images)
        if self.ticks == 1:
            self.first_tick = time.monotonic(), self.images
        if time.monotonic() - self.last_shown > SLOW_STEP_SECONDS:
            done = self.images - (self.number - self.start) * self.batch
            self.update_bar(
                f"{done:,.0f} of the {self.batch:,} images of the next step  {format_speed(self.speed)} images/s"
            )
        if (
            not self.eta_printed
            and self.ticks > ETA_MICRO_BATCHES
            and time.monotonic() - self.first_tick[0] > ETA_SECONDS
        ):
            self.print_eta()

    def print_eta(self) -> None:
        """Say once how long the run will take, from the speed so far."""
        self.eta_printed = True
        now, (began, images) = time.monotonic(), self.first_tick
        measured = (self.images - images) / (now - began)
        left = (self.steps - self.start) * self.batch / measured
        if left > LONG_RUN_SECONDS:
            self.progress.log(
                f"this takes about {format_duration(left)}, at the {format_speed(measured)} images/s measured so far. "
                "Ctrl-C stops and saves; the same command goes on."
            )

    def log(self, text: str) -> None:
        """Print a line above the bar."""
        self.progress.log(text)

    def pause(self, seconds: float) -> None:
        """Leave out of speed and duration what has just taken so long and was no training."""
        self.began += seconds
        self.first_tick = self.first_tick[0] + seconds, self.first_tick[1]

    @property
    def speed(self) -> float:
        """Images a second since the start."""
        return self.images / (time.monotonic() - self.began)

    def update_bar(self, note: str) -> None:
        """Move the bar to the steps done."""
        self.last_shown = time.monotonic()
        self.progress.update(self.number, note)

    def record_step(self, step: Step) -> None:
        """Record a step and show it."""
        self.number = step.number
        self.data_seconds += step.data_seconds
        self.step_seconds += step.step_seconds
        left = (self.steps - step.number) * self.batch / self.speed
        self.run.log_metrics(
            {"step": step.number, "loss": step.loss, "norm": step.norm, "lr": step.lr, "seconds": step.step_seconds}
        )
        share = self.data_seconds / self.step_seconds
        note = f"loss {step.loss:.3f}  lr {step.lr:.2e}  {format_speed(self.speed)} images/s  waiting {share:.1%}"
        self.update_bar(f"{format_duration(left)} left  {note}")
        if step.number == self.steps:
            self.run.log(f"step {step.number}/{self.steps}  {note}")

    def summary(self) -> dict[str, Any]:
        """Speed and share of waiting, for the result; what an earlier attempt did is not in them."""
        seconds = time.monotonic() - self.began
        share = self.data_seconds / self.step_seconds if self.step_seconds else 0.0
        return {
            "steps": self.steps,
            "seconds": round(seconds, 1),
            "images_per_second": self.images / seconds,
            "waiting": share,
        }
