"""Warning of a loss that is far above those of the steps before it."""

from statistics import median

from vitrun.engine.diagnosis import gather_images, shorten_names
from vitrun.engine.loop import Step
from vitrun.engine.state import TrainState
from vitrun.runs.run import Run

SPIKE = 10  # times the median of the last losses
MIN_SPIKE = 1.0  # nats; below it a few hard images do that in any run that is nearly done
MIN_LOSSES = 10  # before a median means something
QUIET_STEPS = 10  # ordinary ones, after which a spike is another one


class SpikeMonitor:
    """Warn once for each spike of the loss, with the images of its batch."""

    def __init__(self, run: Run, state: TrainState):
        self.run, self.state = run, state
        self.last_high: int | None = None  # the last step whose loss was that high

    def record_step(self, step: Step) -> None:
        """Compare the loss of a step with the median of those before it; all ranks call this together."""
        before = [*self.state.losses][:-1]
        if step.is_skipped or len(before) < MIN_LOSSES:
            return
        middle = median(before)
        if not step.loss > max(SPIKE * middle, MIN_SPIKE) or middle <= 0:
            return
        is_new = self.last_high is None or step.number - self.last_high > QUIET_STEPS
        self.last_high = step.number
        if not is_new:
            return
        images = sorted(gather_images(step.names(), step.image_losses), key=lambda image: -image[1])
        names = [name for name, _ in images]
        self.run.warn(
            f"Step {step.number} has loss {step.loss:.4g}, {step.loss / middle:.0f} times the median {middle:.4g} of "
            f"the last {len(before)}; its images, by their loss: {shorten_names(names)}"
        )
        self.run.log_metrics({"spike": step.number, "loss": step.loss, "median": middle, "images": names})
