"""Report of a GPU that ran out of memory, so that fewer images are computed at once."""

from collections.abc import Callable
from dataclasses import dataclass

from vitrun.engine.loop import Step


@dataclass
class MicroBatchMonitor:
    """Warn when the micro-batch has been halved, and then how long a step takes with it."""

    warn: Callable[[str], None]
    micro_batch: int  # of the last step
    seconds: float | None = None  # of the last step, None before the first
    halved: bool = False  # in the last step
    before: str = ""  # seconds of a step before it was halved

    def record_step(self, step: Step) -> None:
        """Compare a step with the one before it."""
        micro_batch = step.micro_batch
        if micro_batch < self.micro_batch:
            self.warn(f"Out of memory with {self.micro_batch} images at once: {micro_batch} from step {step.number} on")
            self.before = self.before if self.halved or self.seconds is None else f", before {self.seconds:.3g} s"
            self.halved = True
        elif self.halved:
            self.warn(f"micro-batch {micro_batch}: a step takes {step.step_seconds:.3g} s{self.before}")
            self.halved = False
        self.micro_batch, self.seconds = micro_batch, step.step_seconds
