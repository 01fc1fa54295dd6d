"""Options of ``launcher=slurm``: what a job of SLURM asks for."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipes.base import frozen_dataclass

UNITS = {"d": 24 * 60, "h": 60, "m": 1}  # minutes
MAX_MINUTES = 366 * 24 * 60


def parse_time(value: object) -> int:
    """Return the minutes of a time limit as SLURM writes it (90, 12:00:00, 2-12:00:00) or as 36h; else a ValueError."""
    minutes = read_minutes(str(value).strip())
    if not 1 <= minutes <= MAX_MINUTES:
        raise ValueError("must be a time limit from 1m to 366d, as in 36h, 2d, 12:00:00 or 2-12:00:00.")
    return minutes


def read_minutes(text: str) -> int:
    """Return the minutes of a text; 0 if it is not a time."""
    if match := re.fullmatch(r"(\d{1,6})([dhm]?)", text):
        return int(match[1]) * UNITS[match[2] or "m"]
    if match := re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,3}):([0-5]\d)(?::([0-5]\d))?", text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return days * 24 * 60 + hours * 60 + minutes + (seconds > 0)
    return 0


@frozen_dataclass
class Slurm:
    """Request of a job."""

    nodes: Annotated[int, Field(ge=1, le=100_000)]  # machines of a job
    gpus: Annotated[int, Field(ge=0, le=64)]  # GPUs of a node, and as many ranks; 0 for one rank of a node on its CPUs
    cpus: PositiveInt  # CPU cores of a rank
    time: Annotated[int, BeforeValidator(parse_time)]  # time limit, as 36h, 2d, 12:00:00 or 2-12:00:00; then requeued
    memory_gb: PositiveFloat | None  # main memory of a node, in GB; null for the partition's
    partition: str | None  # queue; null for the default one
    account: str | None  # the account that is charged; null for the default one
    # seconds before the time limit at which a run is asked to save: more than a checkpoint takes
    signal_seconds: Annotated[int, Field(ge=10, le=3600)]
    requeues: NonNegativeInt  # how often a job goes on after its time limit; preemption does not count

    @property
    def ranks(self) -> int:
        """Return the ranks of a node."""
        return max(1, self.gpus)
