"""Survey of a split: the size of each image, equal images, and unreadable ones, of as many as there is time for."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from vitrun.data.near_duplicates import digest_pixels
from vitrun.data.split import DECODE_POOL, Split
from vitrun.errors import UserError
from vitrun.runtime import random

CHUNK = 64  # images per task of a thread
ROUND = 16 * CHUNK  # images between two looks at the clock
SURVEY_SECONDS = 30.0  # the longest that decoding the images of a part may take
Member = tuple[str, int]  # part and row of an image


@dataclass(frozen=True)
class Survey:
    """What decoding says of S images of a split, which are all of them or drawn at random."""

    rows: np.ndarray  # [S] of the readable ones, in order
    widths: np.ndarray  # [S] in pixels, as training sees the image
    heights: np.ndarray  # [S]
    file_sizes: np.ndarray  # [S] bytes of the encoded image; 0 for one that is not in a file
    digests: tuple[bytes, ...]  # [S] SHA-256 of size and pixels
    unreadable: Mapping[int, str]  # a sentence about each image that cannot be read, by its row
    looked_at: int  # images, readable or not


def survey_split(split: Split, tick: Callable[[int], None], seconds: float = SURVEY_SECONDS) -> Survey:
    """Decode all images of a split, or those that fit into ``seconds``, drawn at random; at least ``ROUND``.

    ``tick`` is called with the number of images that are done so far.
    """
    deadline = time.monotonic() + seconds
    order = random.make_generator(0, "survey").permutation(len(split))
    facts: dict[int, tuple[int, int, int, bytes]] = {}
    unreadable: dict[int, str] = {}
    done = 0

    def look(chunk: np.ndarray) -> None:
        for row in chunk.tolist():
            try:
                facts[row] = examine(split, row)
            except UserError as error:
                unreadable[row] = str(error)

    while done < len(split) and (done == 0 or time.monotonic() < deadline):
        rows = np.sort(order[done : done + ROUND])  # files lie in this order on the disk
        list(DECODE_POOL.map(look, [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]))
        done += len(rows)
        tick(done)
    rows = np.array(sorted(facts), np.int64)
    numbers = np.array([facts[row][:3] for row in rows.tolist()], np.int64).reshape(-1, 3)
    digests = tuple(facts[row][3] for row in rows.tolist())
    widths, heights, file_sizes = numbers.T
    return Survey(rows, widths, heights, file_sizes, digests, dict(sorted(unreadable.items())), done)


def examine(split: Split, row: int) -> tuple[int, int, int, bytes]:
    """Return width, height, bytes of the file and digest of an image; raise UserError if it cannot be read."""
    size = 0
    if split.pixels is not None:
        pixels = split.pixels[row]
    else:
        encoded = split.load_encoded(row)
        size = 0 if isinstance(encoded, np.ndarray) else len(encoded)
        pixels = torch.from_numpy(split.decode_encoded(row, encoded))
    return pixels.shape[2], pixels.shape[1], size, bytes(digest_pixels(pixels).numpy())


def find_copies(surveys: Mapping[str, Survey]) -> list[list[Member]]:
    """Return the groups of images of equal pixels, largest first."""
    groups: dict[bytes, list[Member]] = defaultdict(list)
    for part, survey in surveys.items():
        for row, digest in zip(survey.rows.tolist(), survey.digests):
            groups[digest].append((part, row))
    return sorted((group for group in groups.values() if len(group) > 1), key=len, reverse=True)
