"""Disk of a few megabytes that becomes full or read-only while a run is in progress."""

import ctypes
import os
import shutil
import sys
from collections import namedtuple
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from helpers.forks import run_app
from vitrun.runs import checkpoints, run
from vitrun.runtime import files

NEW_NAMESPACE = 0x20000  # CLONE_NEWNS of sched.h
READ_ONLY, REMOUNT, BIND, PRIVATE = 0x1, 0x20, 0x1000, 0x44000  # MS_RDONLY ... MS_REC | MS_PRIVATE of sys/mount.h
MEGABYTES = 8
SPARE = 2**20  # bytes that are left on a full disk: less than a checkpoint
Answer = namedtuple("Answer", "status output saved")  # of a command; the steps of sound checkpoints that it leaves


def answer_on_disk(pipe: Connection, folder: Path, fault: str, steps: Sequence[int], commands: list[list[str]]) -> None:
    """Send the answers of commands on a small disk, on which a fault lasts for some steps of the first command.

    None is sent where disks cannot be mounted. Faults: ``full``; ``full, unnoticed``, where the system reports more
    room than there is; ``read-only``.
    """
    disk = folder / "disk"
    disk.mkdir()
    if not mount_disk(disk):
        pipe.send(None)
        return
    files.RETRY_SECONDS = (0.01,)
    log_metrics = run.Run.log_metrics

    def log(self: run.Run, line: dict) -> None:
        if line.get("step") == steps[0]:
            self.settle_save()
            break_disk(disk, fault)
        if line.get("step") == steps[-1] + 1:
            self.settle_save()
            mend_disk(disk, fault)
        log_metrics(self, line)

    run.Run.log_metrics = log
    answers = []
    for number, arguments in enumerate(commands):
        answers.append(answer([*arguments, f"runs={disk}"], folder / "output", disk))
        if number == 0:
            mend_disk(disk, fault)
            run.Run.log_metrics = log_metrics
    shutil.copytree(disk, folder / "left")  # the disk vanishes with this process
    pipe.send(answers)


def answer(arguments: list[str], output: Path, disk: Path) -> Answer:
    """Run a command; return its answer."""
    descriptor = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        run_app(arguments)
        status = 0
    except SystemExit as end:
        status = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [path for folder in disk.glob("*/checkpoints") for path in checkpoints.list_checkpoints(folder)]
    sound = [int(path.name[5:]) for path in saved if checkpoints.find_problem(path) is None]
    return Answer(status, output.read_text(encoding="utf-8"), sound)


def mount_disk(folder: Path) -> bool:
    """Mount a disk in memory, seen by this process alone; return whether that is allowed."""
    libc, size = ctypes.CDLL(None), f"size={MEGABYTES}m".encode()
    done = libc.unshare(NEW_NAMESPACE), libc.mount(b"none", b"/", None, PRIVATE, None)
    return done == (0, 0) and libc.mount(b"none", bytes(folder), b"tmpfs", 0, size) == 0


def cover_read_only(disk: Path) -> None:
    """Mount the disk over itself read-only: one with open files cannot be made so itself."""
    mount, place = ctypes.CDLL(None).mount, bytes(disk)
    assert (mount(place, place, None, BIND, None), mount(None, place, None, BIND | REMOUNT | READ_ONLY, None)) == (0, 0)


def break_disk(disk: Path, fault: str) -> None:
    """Let the fault begin."""
    if fault == "read-only":
        cover_read_only(disk)
        return
    usage = shutil.disk_usage(disk)
    (disk / "ballast").write_bytes(bytes(usage.free - SPARE))
    if fault == "full, unnoticed":
        shutil.disk_usage = lambda _: usage


def mend_disk(disk: Path, fault: str, disk_usage=shutil.disk_usage) -> None:
    """Let the fault end."""
    if fault == "read-only":
        ctypes.CDLL(None).umount(bytes(disk))
    (disk / "ballast").unlink(missing_ok=True)
    shutil.disk_usage = disk_usage
