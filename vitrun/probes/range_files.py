"""Files of what was computed for ranges of a split's images, memory-mapped; no image is computed twice."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import safe_open
from torch import Tensor

from vitrun.data import MappedRows
from vitrun.probes.feature_files import check_content, remove_if_damaged, write_hashed
from vitrun.runs.run import Run
from vitrun.runtime import distributed

NAME = re.compile(r"([0-9a-f]{16})-(\d{12})-(\d{12})\.safetensors")  # of a file: a hash, the first row and the end
SECONDS = 30  # of computing that a file takes: the most that a killed process loses
FEWEST, MOST = 256, 2**20  # images of a file

Compute = Callable[[np.ndarray, Callable[[int], None]], dict[str, Tensor]]


class Range(NamedTuple):
    """The images of a file: those from ``first`` to before ``end``."""

    first: int
    end: int
    file: Path


class RangeFiles:
    """The files of tensors that depend on the same ``cache_key``, in a folder beside the runs.

    Processes that compute the same images at the same time write equal tensors, of which one is read.
    """

    def __init__(self, run: Run, cache_key: tuple[object, ...], what: str):
        self.run, self.what, self.folder = run, what, run.recipe.runs / what.replace(" ", "_")
        self.key = hashlib.sha256(repr(cache_key).encode()).hexdigest()[:16]

    def load(self, number: int, compute: Compute) -> dict[str, MappedRows]:
        """Return tensors of ``number`` images, each [N, ...], memory-mapped; those that no file has are computed.

        ``compute(rows, tick)`` returns the tensors of some images; it calls ``tick`` with the number of images after
        each batch.
        """
        ranges = distributed.call_on_rank_zero(self.list_ranges)
        gaps = list(find_gaps(ranges, number))
        missing = sum(end - first for first, end in gaps)
        if missing < number:
            self.run.log(f"{self.what} of {number - missing:,} images read from {self.folder}")
        if missing:
            with self.run.screen.progress(self.what, missing, 0) as bar:
                ranges += self.fill(gaps, compute, self.run.progress_callback(bar))
        distributed.barrier()
        return map_tensors(ranges)

    def fill(self, gaps: list[tuple[int, int]], compute: Compute, tick: Callable[[int], None]) -> Iterator[Range]:
        """Compute the images of ``gaps``; yield the range of each file when it is written."""
        size = FEWEST
        for first, end in gaps:
            while first < end:
                last, started = min(first + size, end), time.monotonic()
                yield self.save(first, last, compute(np.arange(first, last), tick))
                in_time = int((last - first) * SECONDS / max(time.monotonic() - started, 1e-3))
                size = distributed.all_gather_object(min(max(in_time, FEWEST), MOST))[0]
                first = last

    def count_missing(self, number: int) -> int:
        """Return how many of ``number`` images are in no file."""
        return sum(end - first for first, end in find_gaps(self.list_ranges(), number))

    def list_ranges(self) -> list[Range]:
        """Return the ranges of the sound files; remove the others, so that their images are computed again."""
        ranges = []
        for file in sorted(self.folder.glob(f"{self.key}-*.safetensors")):
            if (match := NAME.fullmatch(file.name)) is None:
                continue
            with remove_if_damaged(file, self.run), safe_open(file, "pt") as content:
                check_content(content)
                ranges.append(Range(int(match[2]), int(match[3]), file))
        return ranges

    def save(self, first: int, end: int, tensors: dict[str, Tensor]) -> Range:
        """Write the tensors of a range into a file of its own; return the range."""
        file = self.folder / f"{self.key}-{first:012d}-{end:012d}.safetensors"
        if distributed.rank() == 0:
            write_hashed(file, tensors, self.run, NAME.pattern)
        return Range(first, end, file)


def list_uncovered(ranges: list[Range]) -> Iterator[tuple[int, Range]]:
    """Yield the ranges in order, each with the first of its images that no range before has.

    Ranges without such an image are left out.
    """
    covered = 0
    for part in sorted(ranges, key=lambda part: (part.first, -part.end)):
        if part.end > covered:
            yield max(part.first, covered), part
            covered = part.end


def find_gaps(ranges: list[Range], number: int) -> Iterator[tuple[int, int]]:
    """Yield the first image and the end of each range of ``number`` images that no file has."""
    covered = 0
    for first, part in list_uncovered(ranges):
        if first > covered:
            yield covered, first
        covered = part.end
    if covered < number:
        yield covered, number


def map_tensors(ranges: list[Range]) -> dict[str, MappedRows]:
    """Return the tensors of files that have all images of a split, memory-mapped."""
    parts: dict[str, list[np.ndarray]] = {}
    for first, part in list_uncovered(ranges):
        with safe_open(part.file, "pt") as content:  # whose tensors are views of the mapped file
            for name in content.keys():  # noqa: SIM118
                parts.setdefault(name, []).append(content.get_tensor(name).numpy()[first - part.first :])
    return {name: MappedRows(arrays) for name, arrays in parts.items()}
