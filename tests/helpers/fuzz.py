"""Run commands on damaged inputs, each in a fork of this process, and judge their answers."""

import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from multiprocessing.connection import Connection
from pathlib import Path

from helpers import damaged_annotations, damaged_runs, damaged_text, damages, forks
from helpers.overrides import REQUIRED_OVERRIDES

KINDS = damages.KINDS | damaged_text.KINDS | damaged_runs.KINDS | damaged_annotations.KINDS

SECONDS = 10  # of CPU time, so that a busy machine raises no false alarm
SHARED_BY = 20  # cases of overrides in one fork
WALL_SECONDS = 60.0  # for a command that waits and computes nothing
MEMORY = 2 * 2**30  # bytes that a command may ask for beyond those of this process
MAX_LENGTH = 400
NAMED = r"/|\w\.\w|\w=|Unknown \w|given twice|^[a-z_]+ (is|has) |one of \w| -m\b"  # what a sentence names
ANSWERS = (0, 2, 3, 4, 5, 6, 7)  # exit codes


def make_case(kind: str, seed: int, root: Path) -> None:
    """Write the input of a case and its commands into ``root``, and damage the input; print what was done."""
    os.chdir(root)
    random_ = random.Random(f"{kind} {seed}")
    commands = KINDS[kind].make(root, random_)
    (root / "commands").write_text(json.dumps(commands), encoding="utf-8")
    for _ in range(random_.randint(0, 3)):
        damage = random_.choice(KINDS[kind].damages)
        try:
            damage(root, random_)
        except OSError:
            continue  # as a file that is gone
        print(f"damage: {damage.__name__}")


def run_command(arguments: list[str], root: Path) -> None:
    """Run a command in ``root``, with limits."""
    os.chdir(root)
    limit_resources()
    forks.run_app(arguments)


def limit_resources() -> None:
    """Refuse memory beyond ``MEMORY`` more than this process has now; end it after ``SECONDS`` more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = ceil(used.ru_utime + used.ru_stime) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    bytes_ = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bytes_, resource.getrlimit(resource.RLIMIT_AS)[1]))


def try_case(kind: str, seed: int) -> tuple[str | None, str, str]:
    """Try one case in forks; return what is wrong with its answers (None if nothing), the exit codes, the output."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    output = Path(f"{root}.output")
    try:
        made = wait_for(forks.start_fork(output, make_case, kind, seed, root))
        printed = output.read_text(encoding="utf-8", errors="replace")
        if made != 0:
            return "the case cannot be made", str(made), printed
        answers: list[damages.Answer] = []
        for arguments in json.loads((root / "commands").read_text(encoding="utf-8")):
            status = wait_for(forks.start_fork(output, run_command, arguments, root))
            answers.append((status, output.read_text(encoding="utf-8", errors="replace")))
            printed += f"command: {' '.join(arguments)}\n{answers[-1][1]}"
        problems = [judge(*answer) for answer in answers]
        if any(status for status, _ in answers) and "damage: " not in printed:
            problems.append("an undamaged input is refused")
        problem = next(filter(None, problems), None) or KINDS[kind].check(root, answers)
        return problem, " ".join(str(status) for status, _ in answers), printed
    finally:
        output.unlink()
        make_removable(root)
        shutil.rmtree(root, ignore_errors=True)


def try_cases(kind: str, seeds: Sequence[int]) -> Iterator[tuple[str | None, str, str]]:
    """Yield what :func:`try_case` returns for each seed; lists of overrides, which touch no file, share forks."""
    if kind != "overrides":
        yield from (try_case(kind, seed) for seed in seeds)
        return
    for start in range(0, len(seeds), SHARED_BY):
        batch, root = seeds[start : start + SHARED_BY], Path(tempfile.mkdtemp(prefix="fuzz-"))
        wait_for(forks.start_fork(root / "output", run_batch, kind, batch, root))
        for seed in batch:
            status, output = root / f"{seed}.status", root / f"{seed}.output"
            if not status.exists():  # it or one before it ended the fork
                yield try_case(kind, seed)
                continue
            code, printed = int(status.read_text()), output.read_text(encoding="utf-8", errors="replace")
            yield judge(code, printed.partition("\n---\n")[2]), str(code), printed
        shutil.rmtree(root, ignore_errors=True)


def run_batch(kind: str, seeds: Sequence[int], root: Path) -> None:
    """Run the commands of some cases one after another, each with its output and exit code in a file."""
    os.chdir(root)
    for seed in seeds:
        for descriptor in (1, 2):
            os.dup2(os.open(root / f"{seed}.output", os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        (arguments,) = KINDS[kind].make(root, random.Random(f"{kind} {seed}"))
        print("command:", *arguments, "\n---", flush=True)
        limit_resources()
        try:
            forks.run_app(arguments)
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            (root / f"{seed}.status").write_text(str(end.code if isinstance(end.code, int) else int(bool(end.code))))


def make_removable(root: Path) -> None:
    """Give back the permissions that a damage took."""
    for path in root.rglob("*"):
        if not path.is_symlink() and (path.is_dir() or path.is_file()):
            path.chmod(0o700)


def wait_for(child: int) -> int | None:
    """Return the exit code of a fork; None if it took more than ``SECONDS``, or had to be killed."""
    handle = os.pidfd_open(child)
    if not select.select([handle], [], [], WALL_SECONDS)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(handle)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status in (-signal.SIGKILL, -signal.SIGXCPU) else status


def judge(status: int | None, output: str) -> str | None:
    """Return what is wrong with an answer; None if nothing is."""
    if status is None:
        return f"no answer within {SECONDS} s"
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
    if status and not re.search(NAMED, output.splitlines()[-1].partition(": ")[2]):
        return "neither a file nor an option is named"
    return None


def preload(kinds: Iterable[str] = KINDS) -> None:
    """Import what commands import, read the files of ``conf/`` that they read, and train the runs to be damaged."""
    data = {command: ["data=shapes"] * (command in ("fewshot", "eval")) for command in REQUIRED_OVERRIDES}
    recipes = [(command, [*overrides, *data[command]]) for command, overrides in REQUIRED_OVERRIDES.items()]
    forks.preload([*recipes, ("pretrain", damaged_runs.SMALL)])
    if damaged_runs.KINDS.keys() & set(kinds):
        damaged_runs.right_loss()


def send_problems(cases: Sequence[tuple[str, int]], pipe: Connection) -> None:
    """Try cases of kinds and seeds; send what is wrong with the answers, for :func:`multiprocessing.Process`."""
    preload({kind for kind, _ in cases})
    results = [(kind, seed, *try_case(kind, seed)) for kind, seed in cases]
    pipe.send([(kind, seed, problem, output) for kind, seed, problem, _, output in results if problem])
