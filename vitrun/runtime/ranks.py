"""Rank of this process and number of all ranks, from the environment variables of torchrun or of SLURM's srun."""

import os
import re
import socket
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from vitrun.errors import ExitCode, Interrupted, UserError

JOIN_SECONDS = 30.0  # until all ranks must have started
JOIN_VARIABLE = "VITRUN_JOIN_SECONDS"  # replaces it
MAX_SECONDS = 7 * 86400.0
NOTICE_SECONDS = 5.0  # of waiting, before a line says so
POLL_SECONDS = 0.1
CONNECT_SECONDS = 2.0  # for one try
FIRST_PORT, PORTS = 15000, 16000  # below those that Linux gives to outgoing connections
LAUNCHER_HINT = (
    "torchrun and srun set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT for each process; a single process needs none "
    "of them: unset RANK WORLD_SIZE."
)


class Ranks(NamedTuple):
    """Rank of this process, number of ranks, and where rank 0 listens (None if no variable says that)."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    address: str | None = None
    port: str | None = None
    from_slurm: bool = False


def current_ranks() -> Ranks:
    """Return the ranks that the environment describes; a single process if it contradicts itself."""
    try:
        return read_ranks(os.environ)
    except UserError:  # init_process_group reports it
        return Ranks()


def read_ranks(variables: Mapping[str, str]) -> Ranks:
    """Return the ranks that environment variables describe; raise UserError (exit code 7) if they are half set."""
    task = read_slurm_task(variables)
    given = {name: variables[name] for name in ("RANK", "WORLD_SIZE") if name in variables}
    if not task and not given:
        return Ranks()
    for name, value in given.items() if len(given) == 1 and task else ():
        if value.strip() != task[name]:
            raise rank_error(
                f"{name} is {value!r} in this task of srun, which is RANK {task['RANK']} of {task_size(variables)}"
            )
    known = task | given
    size = read_number(known, "WORLD_SIZE", at_least=1)
    rank = read_number(known, "RANK")
    if rank >= size:
        raise rank_error(f"RANK is {rank}, but of WORLD_SIZE={size} ranks the last is {size - 1}")
    if size == 1:
        return Ranks()
    known |= {name: variables[name] for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name in variables}
    local_rank = read_number({"LOCAL_RANK": "0"} | known, "LOCAL_RANK")
    return Ranks(rank, size, local_rank, known.get("MASTER_ADDR"), known.get("MASTER_PORT"), len(given) < 2)


def read_number(variables: Mapping[str, str], name: str, at_least: int = 0) -> int:
    """Return the number in an environment variable; raise UserError if it is not set, or not such a number."""
    if name not in variables:
        other = "RANK" if name == "WORLD_SIZE" else "WORLD_SIZE"
        raise rank_error(f"{other} is set, but {name} is not")
    value = variables[name].strip()
    if not value.isdecimal() or int(value) < at_least:
        raise rank_error(f"{name} is {'empty' if not value else repr(value[:40])}, not a number from {at_least}")
    return int(value)


def rank_error(problem: str) -> UserError:
    """Return the error for environment variables of which no rank follows."""
    return UserError(f"{problem}. {LAUNCHER_HINT}", ExitCode.DEVICE)


def read_slurm_task(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what torchrun would set for this task of srun; nothing outside of a job step.

    A batch script has SLURM_PROCID=0 and SLURM_NTASKS, too, without being one of several processes: only srun sets
    SLURM_STEP_NUM_TASKS, and only sbatch ENVIRONMENT=BATCH. Rank 0 runs on the first node of the step.
    """
    if "SLURM_PROCID" not in variables:
        return {}
    if variables.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_NUM_TASKS" not in variables:
        return {}
    nodes = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_JOB_NODELIST") or ""
    first = first_host(nodes)
    launcher = variables.get("SLURM_LAUNCH_NODE_IPADDR")
    step = f"{variables.get('SLURM_JOB_ID')}.{variables.get('SLURM_STEP_ID')}"
    return {
        "RANK": variables["SLURM_PROCID"],
        "WORLD_SIZE": task_size(variables),
        "LOCAL_RANK": variables.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": "127.0.0.1" if nodes and first == nodes else first or launcher or "127.0.0.1",
        "MASTER_PORT": str(FIRST_PORT + zlib.crc32(step.encode()) % PORTS),
    }


def task_size(variables: Mapping[str, str]) -> str:
    """Return the number of tasks in this step of SLURM."""
    return variables.get("SLURM_STEP_NUM_TASKS") or variables.get("SLURM_NTASKS") or "1"


def first_host(nodes: str) -> str:
    """Return the first of SLURM's list of hosts: ``gpu[07-09,12],login1`` begins with ``gpu07``."""
    hosts = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", hosts[0]) if hosts else ""


def read_seconds(variable: str, default: float) -> float:
    """Return the seconds in an environment variable, or the default; raise UserError (exit code 7) if it has none."""
    text = os.environ.get(variable, str(default))
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= MAX_SECONDS:
            return seconds
    raise UserError(f"{variable} is {text!r}, not a number of seconds, such as {2 * default:.0f}.", ExitCode.DEVICE)


class Patience:
    """Time that is left until all ranks must have started, with a line on standard error while waiting."""

    def __init__(self) -> None:
        self.seconds = read_seconds(JOIN_VARIABLE, JOIN_SECONDS)
        self.started = time.monotonic()
        self.noticed = False

    @property
    def left(self) -> float:
        """Return the seconds that are left, at least one."""
        return max(1.0, self.seconds - (time.monotonic() - self.started))

    def wait(self, what: str) -> bool:
        """Sleep a moment and return True, or return False if the time is over; say once ``what`` is waited for."""
        waited = time.monotonic() - self.started
        if waited > self.seconds:
            return False
        if waited > NOTICE_SECONDS and not self.noticed:
            self.noticed = True
            with suppress(OSError):  # a full disk under standard error
                print(f"Waiting for {what}, up to {self.seconds:g} s.", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
        return True


def read_address(ranks: Ranks) -> tuple[str, int]:
    """Return the host and the port of rank 0; raise UserError (exit code 7) if they are not set."""
    for name, value in (("MASTER_ADDR", ranks.address), ("MASTER_PORT", ranks.port)):
        if not (value or "").strip():
            raise rank_error(f"WORLD_SIZE is {ranks.size}, but {name} is {'not set' if value is None else 'empty'}")
    port = read_number({"MASTER_PORT": str(ranks.port)}, "MASTER_PORT", at_least=1)
    if port >= 2**16:
        raise rank_error(f"MASTER_PORT is {port}, but ports end at 65535")
    return str(ranks.address).strip(), port


def wait_for_rank_zero(ranks: Ranks, host: str, port: int, patience: Patience) -> None:
    """Wait until something listens at the address of rank 0; raise UserError (exit code 7) if nothing does in time."""
    while True:
        try:
            socket.create_connection((host, port), min(patience.left, CONNECT_SECONDS)).close()
            return
        except OSError as error:
            problem = error.strerror or str(error)
        if not patience.wait(f"rank 0 at {host}:{port}"):
            raise UserError(
                f"Rank {ranks.rank} of {ranks.size} cannot reach rank 0 at {host}:{port} within {patience.seconds:g} "
                f"s ({problem}). {describe_way_out(ranks)}",
                ExitCode.DEVICE,
            )


def describe_way_out(ranks: Ranks) -> str:
    """Return the sentence on ranks that do not start."""
    start = "Start the command with srun" if ranks.from_slurm else "Start all ranks, with torchrun or with one address"
    return f"{start}, or give them longer: {JOIN_VARIABLE}=300."


def mark_reported(error: UserError | Interrupted, by: Sequence[int] = (0,)) -> UserError | Interrupted:
    """Return the error, marked as known to all ranks and to be printed by the ranks ``by``."""
    error.reported_by = by
    return error
