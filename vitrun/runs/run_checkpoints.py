"""Checkpoints of a run: those that it continues from, and those that it saves."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from vitrun.errors import ExitCode, UserError, advise_writing, shorten
from vitrun.runs import checkpoints, run_files
from vitrun.runs.checkpoint_writer import CheckpointWriter, Save
from vitrun.runs.run_log import GONE, RunLog
from vitrun.runtime import distributed, heartbeat
from vitrun.runtime.console import Screen

MAX_FAILED_SAVES = 3  # in a row, before a run gives up
OTHER_FOLDER = "or use another folder: runs=FOLDER"


class RunCheckpoints(RunLog):
    """Checkpoints in the folder of a run; a ``dry`` run has none."""

    def __init__(self, folder: Path, screen: Screen, writes: bool, dry: bool):
        super().__init__(folder, screen, writes)
        self.name, self.dry = folder.name, dry
        self.checkpoints = folder / run_files.CHECKPOINTS_FOLDER
        self.writer = CheckpointWriter(self.checkpoints)
        self.failed_saves = 0
        self.requested_exit: ExitCode | None = None  # why the run is to stop, if a signal has asked for it

    @property
    def can_resume(self) -> bool:
        """Return whether there is a checkpoint, or a finished part, to continue from."""
        return any(self.checkpoints.glob("step-*")) or any(map(any, map(self.read_metrics, ("saved", "part"))))

    def newest_checkpoint(self) -> Path | None:
        """Return the newest sound checkpoint, which rank 0 verifies for all ranks; None if there is none."""
        if self.dry:
            return None
        self.settle_save()
        return distributed.call_on_rank_zero(self.find_newest_checkpoint)

    def find_newest_checkpoint(self) -> Path | None:
        """Return the newest sound checkpoint; None if none was saved; raise UserError if all that were saved are gone.

        Log how many steps are lost if the run stopped before it saved one, or if the last one that it saved is gone.
        """
        saved = max(self.last_logged("saved"), checkpoints.read_latest_step(self.checkpoints))
        done = self.last_logged("step")
        gone = saved > 0 and not checkpoints.is_known(self.checkpoints, saved)
        newest = checkpoints.find_newest(self.checkpoints, self.warn, run=self.name)
        if newest is None and saved:
            raise UserError(
                f"{self.name} was saved at step {saved}, but {self.checkpoints} has no checkpoint. Put it back to "
                f"continue, or delete {self.folder} to start again.",
                ExitCode.CHECKPOINT,
            )
        if newest is not None and gone and checkpoints.read_step(newest) < saved:
            self.warn(shorten(f"Step {saved} was saved, but its checkpoint is gone: {newest.name} is the newest."))
        if newest is None and done:
            self.log(f"Starting again from step 0: it stopped after step {done}, before its first checkpoint")
        return newest

    def check_places(self) -> None:
        """Raise UserError (exit code 6) if a file lies where a folder of this run is to be, or a folder for a file."""
        files = (self.folder / run_files.RESULT_FILE, self.checkpoints / checkpoints.LATEST_FILE)
        for path in (self.checkpoints, *files):
            if os.path.lexists(path) and path.is_dir() == (path in files):
                what = "a folder" if path.is_dir() else "no folder"
                raise UserError(f"{path} is {what}: move it away, {OTHER_FOLDER}", ExitCode.SPACE)

    def check_disk_space(self, needed: int) -> None:
        """Raise UserError (exit code 6) if the disk has less than the ``needed`` bytes of a checkpoint.

        Warn if it lacks room for the new one beside those that stay, once the run has been saved as often.
        """
        folder = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free, size = shutil.disk_usage(folder).free, f"A checkpoint of this run takes {needed / 1e6:,.1f} MB"
        disk = f"disk of {self.folder.parent} has {free / 1e6:,.1f} MB"
        if free < needed:
            raise UserError(f"{size}, and the {disk}. Make room, {OTHER_FOLDER}", ExitCode.SPACE)
        at_once = checkpoints.KEEP_LAST + 1
        if free < needed * (at_once - len(checkpoints.list_checkpoints(self.checkpoints))) and self.writes:
            self.warn(
                f"{size}. The {disk}: too few for the {at_once} of a run that is saved as often, the "
                f"{checkpoints.KEEP_LAST} newest and the one that is being written."
            )

    def save_checkpoint(self, save: Save, background: bool = False) -> bool:
        """Save a checkpoint and return whether that worked; in the ``background`` start to save it and return True.

        Wait for the one before, as one is saved at a time. If it fails, as on a full disk, warn; raise UserError the
        third time in a row, or if it is the final one.
        """
        if not self.writes:
            return True
        self.settle_save()
        self.writer.start(save)
        return background or self.settle_save()

    def settle_save(self, wait: bool = True) -> bool:
        """Record the outcome of the save that was started last, and return whether none has failed.

        Unless it is to ``wait``, return at once if the save is still in progress.
        """
        with heartbeat.long_work("saving"):
            outcome = self.writer.take_outcome(wait)
        if outcome is None:
            return True
        save, future = outcome
        try:
            seconds = future.result()
        except Exception as error:  # as writers of other objectives and packages may raise
            self.handle_failed_save(save.step, error, save.final)
            return False
        self.failed_saves = 0
        self.log_metrics({"saved": save.step})
        self.write_log_line(f"saved step {save.step} in {seconds:.1f} s")
        return True

    def finish_saving(self) -> None:
        """Wait for a save that is in progress, when the run ends by an error, which is what the user is to read."""
        with suppress(UserError):
            self.settle_save()

    def handle_failed_save(self, step: int, error: Exception, final: bool) -> None:
        """Warn of a checkpoint that could not be saved, or raise UserError if the run cannot continue without it."""
        self.failed_saves += 1
        reason = GONE if self.is_gone else getattr(error, "strerror", None) or error
        if not final and self.failed_saves < MAX_FAILED_SAVES:
            outcome = "Training continues" if self.requested_exit is None else "The run stops"
            intact = "" if self.is_gone else "; the checkpoint before it is intact"
            self.warn(f"Cannot save step {step}: {reason}. {outcome}{intact}.")
            return
        last = "the last step, " if final else "step "
        tries = "" if final else f" ({MAX_FAILED_SAVES} times in a row)"
        again = "Run the same command again"
        if self.is_gone:
            advice = f"{again} once {self.folder} is there"
        else:
            newest = f"the newest checkpoint in {self.folder}"
            advice = f"{advise_writing(error)}. {again}: it continues from {newest}"
        raise UserError(f"Cannot save {last}{step}{tries}: {reason}. {advice}.", ExitCode.SPACE) from None
