"""Jobs of SLURM, submitted by submitit: each runs a command of vitrun, and is requeued after a signal."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.stop import STOP_CODES
from vitrun.runtime.subprocesses import PROGRAM

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)  # before the time limit, and at preemption
SAVE_SECONDS = 3600  # a run that was asked to stop is waited for; SLURM kills it before that


@dataclass
class SlurmJob:
    """One command of vitrun, as each task of a job calls it; the ranks find each other by SLURM's variables.

    submitit calls ``checkpoint`` on the first task when SLURM is about to end the job, and has it requeued. The command
    resumes from its checkpoint.
    """

    arguments: list[str]
    folder: str  # the working folder
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    signalled: bool = False

    def __call__(self) -> int:
        """Run the command and return its exit code; raise RuntimeError if it failed."""
        self.signalled = False
        self.process = subprocess.Popen([*PROGRAM, *self.arguments], cwd=self.folder)
        self.pass_signals_on()
        status = self.process.wait()
        if status and not (self.signalled and status in STOP_CODES):
            raise RuntimeError(f"vitrun {' '.join(self.arguments)} ended with exit code {status}")
        return status

    def pass_signals_on(self) -> None:
        """Let SIGUSR1 and SIGUSR2 reach the command, and then what submitit does about them."""
        requeue = signal.getsignal(signal.SIGUSR2)

        def handle(number: int, frame: FrameType | None) -> None:
            self.signalled = True
            self.stop()
            if callable(requeue):
                requeue(number, frame)

        for number in SIGNALS:
            signal.signal(number, handle)

    def stop(self) -> None:
        """Ask the command to save and to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)

    def checkpoint(self) -> Any:
        """Wait until the command has saved, and return what the requeued job calls."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.stop()
            wait_for_end(self.process.pid)
        return DelayedSubmission(SlurmJob(self.arguments, self.folder))

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self.arguments, "folder": self.folder, "process": None, "signalled": False}


def wait_for_end(pid: int) -> None:
    """Wait for a process in a handler of signals, which may have interrupted ``Popen.wait`` and its lock."""
    limit = time.monotonic() + SAVE_SECONDS
    with suppress(ChildProcessError):  # it has been waited for
        while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) and time.monotonic() < limit:
            time.sleep(0.1)


def check_slurm(cluster: str = "slurm") -> None:
    """Raise UserError if submitit is not installed, or if this machine submits no jobs."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError(
            "needs submitit: pip install submitit, or the extra vitrun[slurm].", option="launcher", value="slurm"
        ) from None
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if cluster == "slurm" and missing:
        why = f"there is no {' and no '.join(missing)} here: type the command on a login node of the cluster."
        raise UserError(why, ExitCode.DEVICE, "launcher", "slurm")


def submit(
    commands: Sequence[Sequence[str]], request: dict[str, Any], folder: Path, at_once: int, cluster: str = "slurm"
) -> list[Any]:
    """Submit a job for one command, an array for several; return submitit's jobs.

    Args:
        request: Parameters of submitit's executor, and ``max_num_timeout``.
        folder: Of submitit's files and of the logs, on a disk that the nodes share.
        at_once: How many jobs of an array run at a time; 0 for all.
        cluster: ``local`` runs them on this machine.
    """
    check_slurm(cluster)
    import submitit

    parameters = dict(request)
    requeues = parameters.pop("max_num_timeout")
    executor = submitit.AutoExecutor(folder / "%j", cluster=cluster, **{f"{cluster}_max_num_timeout": requeues})
    if at_once and cluster == "slurm":
        parameters["slurm_array_parallelism"] = at_once
    executor.update_parameters(**parameters)
    jobs = [SlurmJob(list(arguments), os.getcwd()) for arguments in commands]
    try:
        if len(jobs) == 1:
            return [executor.submit(jobs[0])]
        with executor.batch():
            return [executor.submit(job) for job in jobs]
    except Exception as error:  # of sbatch: submitit has several classes for it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        raise UserError(f"SLURM refuses the job: {reason}", ExitCode.DEVICE, "launcher", "slurm") from None
