"""Several ``vitrun`` commands at once, each in a process of its own with its share of the cores."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from vitrun.errors import ExitCode
from vitrun.runtime.stop import handle_stop_signals
from vitrun.runtime.subprocesses import STOP_SIGNALS, start_process

POLL_SECONDS = 0.05  # between two looks at the processes


@dataclass
class Job:
    """Running process, with the threads that read its output."""

    process: subprocess.Popen[str]
    readers: list[threading.Thread]
    output: list[str] = field(default_factory=list)  # lines of its standard output, if they are collected
    reason: str = ""  # the sentence of its UserError


def run_pool(
    commands: Mapping[str, Sequence[str]],
    at_once: int,
    on_start: Callable[[str], None],
    on_end: Callable[[str, int, str, str], None],
    collect: bool,
) -> ExitCode | None:
    """Run ``vitrun`` with each of the named arguments, ``at_once`` processes at a time.

    What they print gets the name in front. Return the exit code of a signal that asked to stop: then the running ones
    have saved their state, and no other was started.

    Args:
        on_start: Called with the name of a command before it starts.
        on_end: Called with the name, the exit code and the collected standard output of a process that ended, and with
            the sentence of the UserError that ended it, or an empty string.
        collect: Whether standard output is collected instead of printed.
    """
    waiting, running, requests = list(commands), dict[str, Job](), list[ExitCode]()

    def pass_on(status: ExitCode) -> None:
        requests.append(status)
        for job in running.values():
            job.process.send_signal(STOP_SIGNALS[status])

    with handle_stop_signals(pass_on, insist=pass_on):
        while running or waiting and not requests:
            while waiting and len(running) < at_once and not requests:
                name = waiting.pop(0)
                on_start(name)
                running[name] = start_job(name, commands[name], at_once, collect)
            for name in [name for name, job in running.items() if job.process.poll() is not None]:
                job = running.pop(name)
                for reader in job.readers:
                    reader.join()
                status = job.process.returncode
                on_end(name, status if status >= 0 else 128 - status, "".join(job.output), job.reason)
            time.sleep(POLL_SECONDS)
    return requests[0] if requests else None


def start_job(name: str, arguments: Sequence[str], at_once: int, collect: bool) -> Job:
    """Start a process and the threads that read its output."""
    cores = max(1, len(os.sched_getaffinity(0)) // at_once) if hasattr(os, "sched_getaffinity") else 1
    process = start_process(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={"OMP_NUM_THREADS": str(cores)} | os.environ,
    )
    job, prefix = Job(process, []), f"vitrun {arguments[0]}: "
    assert process.stdout and process.stderr

    def read(pipe: IO[str], target: IO[str] | None) -> None:
        for line in pipe:
            if target is None:
                job.output.append(line)
            else:
                if target is sys.stderr and line.startswith(prefix):
                    job.reason = line.removeprefix(prefix).strip()
                with suppress(OSError):  # a full disk under it; the process waits if nobody reads its lines
                    print(f"{name} {line}", end="", file=target, flush=True)

    for pipe, target in ((process.stdout, None if collect else sys.stdout), (process.stderr, sys.stderr)):
        job.readers.append(threading.Thread(target=read, args=(pipe, target), daemon=True))
        job.readers[-1].start()
    return job
