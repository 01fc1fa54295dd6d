"""How training goes: shown, recorded, foretold, and stopped where the user asked."""

import time
from typing import Any

from vitrun.engine.loop import Step
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.console import duration, speed

SLOW = 10  # seconds of a step, after which its images are counted
LONG = 20 * 60  # seconds of training from which the first estimate is worth a line of its own
EARLY = 20  # seconds after which that estimate is made even if no step is done,
FEW = 4  # and micro-batches; the very first, which finds nothing prepared, counts for neither


class Meter:
    """Shows and records how training goes, and stops it where the user asked."""

    def __init__(self, run: Run, start: int, steps: int, batch: int):
        self.run, self.steps, self.batch, self.start, self.number = run, steps, batch, start, start
        self.began = self.shown = time.monotonic()
        self.images = self.waited = self.took = 0.0
        self.ticks, self.warm = 0, (0.0, 0.0)  # when the first micro-batch was done, and its images
        self.foretold = False
        self.progress = run.screen.progress(run.verb, steps, start)

    def __enter__(self) -> "Meter":
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def tick(self, images: int) -> None:
        """Count a micro-batch; end the step unfinished where the run is asked to stop."""
        self.images += images * distributed.size()
        self.ticks += 1
        self.run.tick(images)
        if self.ticks == 1:
            self.warm = time.monotonic(), self.images
        if time.monotonic() - self.shown > SLOW:
            done = self.images - (self.number - self.start) * self.batch
            self.show(f"{done:,.0f} of the {self.batch:,} images of the next step  {speed(self.speed)} images/s")
        if not self.foretold and self.ticks > FEW and time.monotonic() - self.warm[0] > EARLY:
            self.foretell()

    def foretell(self) -> None:
        """Say once how long the run will take, from the speed so far."""
        self.foretold = True
        now, (began, images) = time.monotonic(), self.warm
        measured = (self.images - images) / (now - began)
        left = (self.steps - self.start) * self.batch / measured
        if left > LONG:
            self.progress.say(
                f"this takes about {duration(left)}, at the {speed(measured)} images/s measured so far. "
                "Ctrl-C stops and saves; the same command goes on."
            )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.progress.say(text)

    def pause(self, seconds: float) -> None:
        """Leave out of speed and duration what has just taken so long and was no training."""
        self.began += seconds
        self.warm = self.warm[0] + seconds, self.warm[1]

    @property
    def speed(self) -> float:
        """Images a second since the start."""
        return self.images / (time.monotonic() - self.began)

    def show(self, note: str) -> None:
        """Move the bar to the steps done."""
        self.shown = time.monotonic()
        self.progress.update(self.number, note)

    def step(self, step: Step) -> None:
        """Record a step and show it."""
        self.number = step.number
        self.waited += step.waited
        self.took += step.took
        left = (self.steps - step.number) * self.batch / self.speed
        self.run.log({"step": step.number, "loss": step.loss, "norm": step.norm, "lr": step.lr, "seconds": step.took})
        share = self.waited / self.took
        note = f"loss {step.loss:.3f}  lr {step.lr:.2e}  {speed(self.speed)} images/s  waiting {share:.1%}"
        self.show(f"{duration(left)} left  {note}")
        if step.number == self.steps:
            self.run.say(f"step {step.number}/{self.steps}  {note}")

    def summary(self) -> dict[str, Any]:
        """Speed and share of waiting, for the result; what an earlier attempt did is not in them."""
        seconds = time.monotonic() - self.began
        share = self.waited / self.took if self.took else 0.0
        return {
            "steps": self.steps,
            "seconds": round(seconds, 1),
            "images_per_second": self.images / seconds,
            "waiting": share,
        }
