"""Handling of steps that are not finite: a few are skipped, or the run stops and writes what is known."""

from dataclasses import dataclass

from vitrun.engine.diagnosis import NonFiniteStep, find_non_finite_weight, gather_images, stop_at_non_finite
from vitrun.engine.loop import Step
from vitrun.engine.state import TrainState
from vitrun.errors import ExitCode, UserError
from vitrun.runs.run import Run
from vitrun.runtime.text_format import format_json

DUMP_FILE = "not-finite-step-{}.json"


@dataclass(frozen=True)
class NonFinitePolicy:
    """Handling of a step that is not finite: it is skipped up to ``max_skipped`` times, then the run stops.

    Both are recorded in the folder of ``run``.
    """

    run: Run
    state: TrainState
    max_skipped: int
    clips: bool

    def __call__(self, step: NonFiniteStep) -> None:
        """Record a step, which is to be skipped if this returns; raise UserError (exit code 5) if the run stops."""
        skipped = len(self.state.skipped) + 1
        if step.in_weights or skipped > self.max_skipped:
            details = self.write_dump(step)
            hint = "; or skip such batches: on_nan=skip:3"
            if self.max_skipped:
                hint = f"; on_nan=skip:{self.max_skipped} is used up"
            stop_at_non_finite(step, f"{self.advice}{'' if step.in_weights else hint}.{details}")
        self.run.warn(f"{step}: skipped, {skipped} of {self.max_skipped} that on_nan allows")
        facts = {"loss": step.loss, "norm": step.norm, "lr": step.lr, "origin": step.origin}
        self.run.log_metrics({"skipped": step.number, **facts, "images": [name for name, _ in step.images]})

    def check_weights(self, last: Step) -> None:
        """Raise UserError (exit code 5) if the ``last`` step made a weight or its average not finite.

        No checkpoint may have such weights. All ranks call this together.
        """
        origin = find_non_finite_weight(self.state)
        if origin is None:
            return
        images = gather_images(last.names(), last.image_losses)
        details = self.write_dump(NonFiniteStep(last.number, last.loss, last.norm, last.lr, origin, True, images))
        raise UserError(
            f"The update of step {last.number} at lr {last.lr:.3g} (gradient norm {last.norm:.4g}) made {origin} not "
            f"finite: nothing is saved, and earlier checkpoints stay. {self.advice}.{details}",
            ExitCode.NUMERICS,
        )

    @property
    def advice(self) -> str:
        """Return what may help."""
        return f"Try a smaller optim.lr, or a longer warmup{'' if self.clips else ', or clip=1'}"

    def write_dump(self, step: NonFiniteStep) -> str:
        """Write all that is known about a stop to a file of the run; return the sentence that names it."""
        if self.run.dry:
            return ""
        content = {
            "step": step.number,
            "lr": step.lr,
            "loss": step.loss,
            "norm": step.norm,
            "first_not_finite": step.origin,
            "images": [name for name, _ in step.images],
            "image_losses": [loss for _, loss in step.images],
            "last_losses": [*self.state.losses],
            "skipped_steps": self.state.skipped,
        }
        file = DUMP_FILE.format(step.number)
        self.run.log_metrics({"stopped": step.number})
        try:
            self.run.write_file(file, lambda path: path.write_text(format_json(content, indent=2), encoding="utf-8"))
        except UserError as error:
            return f" No details: {error}"
        return f" Details: {self.run.folder / file}."
