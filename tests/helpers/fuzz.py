"""Run commands on damaged inputs, each in a fork of this process, and judge their answers."""

import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from helpers import damaged_text, damages
from helpers.overrides import REQUIRED_OVERRIDES

KINDS = damages.KINDS | damaged_text.KINDS

SECONDS = 10.0
MEMORY = 2 * 2**30  # bytes that a command may ask for beyond those of this process
MAX_LENGTH = 400
ANSWERS = (0, 2, 3, 4, 5, 6)  # exit codes


def run_case(kind: str, seed: int, root: Path) -> None:
    """Make the input of a case, damage it, and run its command; ends the process."""
    os.chdir(root)
    random_ = random.Random(f"{kind} {seed}")
    make, damages = KINDS[kind]
    arguments = make(root, random_)
    for _ in range(random_.randint(0, 3)):
        damage = random_.choice(damages)
        try:
            damage(root, random_)
        except OSError:
            continue  # as a file that is gone
        print(f"damage: {damage.__name__}")
    print("command:", *arguments, "\n---", flush=True)
    from vitrun.cli.app import app

    limit_memory()
    try:
        app(arguments, prog_name="vitrun")
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException:
        traceback.print_exc()
        leave(1)
    leave(0)


def limit_memory() -> None:
    """Refuse memory beyond ``MEMORY`` more than this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def leave(status: int) -> None:
    """End this fork at once."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def try_case(kind: str, seed: int) -> tuple[str | None, str, str]:
    """Run one case in a fork; return what is wrong with the answer (None if nothing), its sort, and the output."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    sys.stdout.flush()
    child = os.fork()
    if not child:
        output = os.open(root / "output", os.O_RDWR | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        try:
            run_case(kind, seed, root)
        except BaseException:
            traceback.print_exc()
            leave(99)
    status = wait_for(child)
    output = (root / "output").read_text(encoding="utf-8", errors="replace")
    for path in root.rglob("*"):
        if not path.is_symlink() and (path.is_dir() or path.is_file()):
            path.chmod(0o700)
    shutil.rmtree(root, ignore_errors=True)
    damages, _, answer = output.partition("---\n")
    problem = "an undamaged input is refused" if status and "damage: " not in damages else judge(status, answer)
    return problem, str(status), output


def wait_for(child: int) -> int | None:
    """Return the exit code of a fork; None if it had to be killed after ``SECONDS``."""
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def judge(status: int | None, output: str) -> str | None:
    """Return what is wrong with an answer; None if nothing is."""
    if status is None:
        return f"no answer within {SECONDS:.0f} s"
    if "Traceback" in output or status == 1:
        return "traceback"
    if status not in ANSWERS:
        return f"exit code {status}"
    lines = [line for line in output.splitlines() if "  # " not in line]  # without the options of --cfg
    long = [line for line in lines if len(line) > MAX_LENGTH]
    if long:
        return f"a line of {max(map(len, long))} characters"
    if "\x1b" in output:
        return "an escape sequence of a name is printed"
    sentences = re.findall(r"^vitrun \w+: ", output, re.MULTILINE)
    if status and (len(sentences) != 1 or not output.splitlines()[-1].startswith("vitrun ")):
        return f"{len(sentences)} sentences"
    if status and not re.search(r"/|\w\.\w|\w=|Unknown \w|given twice", output.splitlines()[-1].partition(": ")[2]):
        return "neither a file nor an option is named"
    return None


def preload() -> None:
    """Import what commands import, so that a fork starts at once."""
    import pyarrow.parquet  # noqa: F401
    import timm
    import torch

    from vitrun.config import resolve

    torch.set_num_threads(1)
    timm.create_model("vit_tiny_patch16_224", depth=1)
    for command, overrides in REQUIRED_OVERRIDES.items():  # which reads the files of conf/
        resolve.resolve_recipe(
            command, [*overrides, *["data=shapes"] * (command in ("fewshot", "eval"))], running=False
        )


def send_problems(cases: Sequence[tuple[str, int]], pipe: Connection) -> None:
    """Try cases of kinds and seeds; send what is wrong with the answers, for :func:`multiprocessing.Process`."""
    preload()
    results = [(kind, seed, *try_case(kind, seed)) for kind, seed in cases]
    pipe.send([(kind, seed, problem, output) for kind, seed, problem, _, output in results if problem])
