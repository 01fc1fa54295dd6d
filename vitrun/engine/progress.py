"""Progress of training: a bar, a line of metrics per step, an ETA, and the check for a request to stop."""

import time

from vitrun.engine.loop import Step
from vitrun.engine.trend import BARS, Trend
from vitrun.runs.history import read_history
from vitrun.runs.metrics import Metric, Result
from vitrun.runs.run import Run
from vitrun.runtime import distributed, heartbeat
from vitrun.runtime.console import can_print
from vitrun.runtime.text_format import format_duration, format_speed

SLOW_STEP_SECONDS = 10  # after this many seconds in a step the bar counts its images
LONG_RUN_SECONDS = 20 * 60  # a run that takes longer gets a line with its ETA
# The ETA is printed after this many seconds and micro-batches, even if no step is done yet. Neither counts the first
# micro-batch, whose images were not computed in advance.
ETA_SECONDS = 20
ETA_MICRO_BATCHES = 4


class Meter:
    """Show and record the progress of training, and raise Interrupted if the user asked to stop."""

    def __init__(self, run: Run, start: int, steps: int, batch: int):
        self.run, self.steps, self.batch, self.start, self.number = run, steps, batch, start, start
        self.started = self.last_shown = time.monotonic()
        self.images = self.data_seconds = self.step_seconds = 0.0
        self.ticks, self.first_tick = 0, (0.0, 0.0)  # when the first micro-batch was done, and its images
        self.eta_printed = False
        self.evaluation = ""  # the last one, as text
        self.trend: Trend | None = None  # of the loss, where it can be shown
        if run.screen.is_terminal and can_print(BARS):
            self.trend = Trend(list_losses(run, start))
        self.progress = run.screen.progress(run.command, steps, start)

    def __enter__(self) -> "Meter":
        self.progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        heartbeat.set_step(None)
        self.progress.__exit__(*error)

    def tick(self, images: int) -> None:
        """Count a micro-batch of ``images`` on this rank; raise Interrupted if the user asked to stop."""
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
        """Print once how long the run will take at the speed so far."""
        self.eta_printed = True
        now, (start, images) = time.monotonic(), self.first_tick
        speed = (self.images - images) / (now - start)
        left = (self.steps - self.start) * self.batch / speed
        if left > LONG_RUN_SECONDS:
            self.progress.log(
                f"This takes about {format_duration(left)} at the {format_speed(speed)} images/s measured so far. "
                "Ctrl-C stops and saves; the same command resumes."
            )

    def log(self, text: str) -> None:
        """Print a line above the bar."""
        self.progress.log(text)

    def pause(self, seconds: float) -> None:
        """Exclude the last ``seconds``, which were not training, from speed and duration."""
        self.started += seconds
        self.first_tick = self.first_tick[0] + seconds, self.first_tick[1]

    @property
    def speed(self) -> float:
        """Return the images a second since the start."""
        return self.images / (time.monotonic() - self.started)

    def update_bar(self, note: str) -> None:
        """Move the bar to the steps done, followed by ``note``."""
        self.last_shown = time.monotonic()
        self.progress.update(self.number, note)

    def record_step(self, step: Step) -> None:
        """Write a step to ``metrics.jsonl`` and show it."""
        self.number = step.number
        heartbeat.set_step(step.number)
        self.data_seconds += step.data_seconds
        self.step_seconds += step.step_seconds
        left = (self.steps - step.number) * self.batch / self.speed
        if not step.is_skipped:
            self.run.log_metrics(
                {"step": step.number, "loss": step.loss, "norm": step.norm, "lr": step.lr, "seconds": step.step_seconds}
            )
        if self.trend is not None and not step.is_skipped:
            self.trend.add(step.loss)
        share = self.data_seconds / self.step_seconds
        loss, evaluation = f"loss {step.loss:.3f}", f"eval {self.evaluation}  " if self.evaluation else ""
        note = f"lr {step.lr:.2e}  {format_speed(self.speed)} images/s  waiting {share:.1%}"
        trend = f" {self.trend}" if self.trend is not None and str(self.trend) else ""
        self.update_bar(f"{format_duration(left)} left  {loss}{trend}  {evaluation}{note}")
        if step.number == self.steps:
            self.run.log(f"step {step.number}/{self.steps}  {loss}  {note}")

    def summary(self) -> Result:
        """Return the steps done, and of this attempt alone the speed and the share of time waiting for data."""
        seconds = time.monotonic() - self.started
        share = self.data_seconds / self.step_seconds if self.step_seconds else 0.0
        return {
            "steps": self.number,
            "seconds": Metric(round(seconds, 1), "seconds"),
            "images_per_second": Metric(self.images / seconds, "images/s"),
            "waiting": Metric(share, "share"),
        }


def list_losses(run: Run, step: int) -> list[float]:
    """Return losses of earlier attempts up to a step, evenly spaced."""
    curve = read_history(run.folder).training.get("loss", []) if step else []
    return [loss for number, loss in curve if number <= step]
