"""What lies where in the shards of a data set: made once by reading their headers, then mapped into memory."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vitrun.data.sources.shards.tar import read_members
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import track_progress
from vitrun.runtime.files import write_atomic

INDEX_FORMAT = 1  # of the index; another number makes every index anew
ARRAYS = ("starts", "offsets", "sizes", "labels", "letters", "ends")
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
MEMBER_NAME = re.compile(
    r"((?:.*/)?[^./]+)\.([^/]+)"
)  # the name of a sample ends at the first dot, as WebDataset has it
INDEX_FOLDER = ".vitrun-index"  # the folder beside the shards


@dataclass(frozen=True)
class Index:
    """The N images of S shards; label lists are padded with -1."""

    starts: np.ndarray  # [S + 1] int64, the first image of each shard, and behind them N
    offsets: np.ndarray  # [N] int64, where an image begins in its shard
    sizes: np.ndarray  # [N] uint32, in bytes
    labels: np.ndarray  # [N] int32, or [N, K] where an image has up to K labels
    letters: np.ndarray  # uint8, the names of all images one behind the other
    ends: np.ndarray  # [N] int64, where each name ends
    fingerprint: str  # of names, labels and sizes, not of the place and time of the files

    def name(self, image: int) -> str:
        """The name of an image in its shard."""
        first = self.ends[image - 1] if image else 0
        return self.letters[first : self.ends[image]].tobytes().decode("utf-8", "replace")

    def shard(self, image: int) -> int:
        """The number of the shard that holds an image."""
        return int(np.searchsorted(self.starts, image, side="right")) - 1


def open_index(root: Path, shards: Sequence[str], label: str, tick: Callable[[], None] = lambda: None) -> Index:
    """The index of ``shards`` below ``root``, made where there is none; its arrays stay on disk until they are read."""
    at = index_folder(root, shards, label)

    def scan() -> Iterator[list[tuple[str, int, int, list[int]]]]:
        for shard in shards:
            tick()
            yield scan_shard(root / shard, label)

    if not at.is_dir():
        write_index(at, shards, scan())
    try:
        arrays = {name: np.asarray(np.load(at / f"{name}.npy", "r", allow_pickle=False)) for name in ARRAYS}
        return Index(**arrays, fingerprint=(at / "fingerprint").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"The index {at} is damaged ({error}): delete it, and it is made anew.", ExitCode.DATA
        ) from None


def index_folder(root: Path, shards: Sequence[str], label: str) -> Path:
    """The folder of an index, which names, sizes and times of the shards name.

    It lies beside them where one may write there, else in the user's cache.
    """
    states = [(root / shard).stat() for shard in shards]
    facts = [INDEX_FORMAT, label, [(s, state.st_size, state.st_mtime_ns) for s, state in zip(shards, states)]]
    place = root / INDEX_FOLDER if os.access(root, os.W_OK) else user_cache_folder() / "index"
    return place / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def user_cache_folder() -> Path:
    """The folder that the user keeps what can be had again in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrun"


def write_index(folder: Path, shards: Sequence[str], found: Iterable[list[tuple[str, int, int, list[int]]]]) -> None:
    """Make the folder of an index from the samples of each shard; it appears whole or not at all."""
    parts = [pack_samples(samples) for samples in track_progress(found, len(shards), "shards indexed")]
    columns = [np.concatenate([part[i] for part in parts]) for i in range(4)]
    offsets, sizes, lengths, letters = columns
    most = max(part[4].shape[1] for part in parts)
    labels = np.concatenate([np.pad(p[4], ((0, 0), (0, most - p[4].shape[1])), constant_values=-1) for p in parts])
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    labels = labels[:, 0] if most == 1 else labels
    arrays = dict(zip(ARRAYS, (starts, offsets, sizes, labels, letters, np.cumsum(lengths, dtype=np.int64))))
    write_arrays(folder, arrays, fingerprint_arrays(shards, arrays))


def write_arrays(folder: Path, arrays: dict[str, np.ndarray], code: str) -> None:
    """Write arrays and fingerprint; if another process has written the same folder meanwhile, leave that one."""

    def write(partial: Path) -> None:
        partial.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        (partial / "fingerprint").write_text(code, encoding="ascii")

    try:
        write_atomic(folder, write)
    except OSError as error:
        if not folder.is_dir():
            raise UserError(
                f"The index {folder} cannot be written: {error.strerror}. Make room for it.", ExitCode.SPACE
            ) from None


def pack_samples(samples: list[tuple[str, int, int, list[int]]]) -> tuple[np.ndarray, ...]:
    """Offsets, sizes, lengths of names, their letters, and labels [n, K] of one shard's samples."""
    names = [name.encode("utf-8", "surrogateescape") for name, *_ in samples]
    labels = np.full((len(samples), max(len(labels) for *_, labels in samples)), -1, dtype=np.int32)
    for row, (*_, values) in zip(labels, samples):
        row[: len(values)] = values
    return (
        np.array([offset for _, offset, _, _ in samples], dtype=np.int64),
        np.array([size for _, _, size, _ in samples], dtype=np.uint32),
        np.array([len(name) for name in names], dtype=np.uint16),
        np.frombuffer(b"".join(names), dtype=np.uint8),
        labels,
    )


def fingerprint_arrays(shards: Sequence[str], arrays: dict[str, np.ndarray]) -> str:
    """16 hex digits of a SHA-256 over the shards' names, and the images' names, labels and sizes."""
    code = hashlib.sha256("\n".join(shards).encode("utf-8", "surrogateescape"))
    for name in ("starts", "sizes", "labels", "ends", "letters"):
        code.update(np.ascontiguousarray(arrays[name]).data)
    return code.hexdigest()[:16]


def scan_shard(shard: Path, label: str) -> list[tuple[str, int, int, list[int]]]:
    """Name, offset, size and labels of every sample of a shard; a UserError that names what is wrong in it."""
    try:
        with open(shard, "rb") as file:
            found = list(read_samples(file, shard.stat().st_size, label))
    except (OSError, ValueError) as error:
        raise UserError(f"The shard {shard} cannot be used: {error}.", ExitCode.DATA) from None
    if not found:
        raise UserError(f"The shard {shard} cannot be used: it has no images.", ExitCode.DATA)
    return found


def read_samples(file: BinaryIO, size: int, label: str) -> Iterator[tuple[str, int, int, list[int]]]:
    """The samples of a tar: files that follow each other and have one name up to the first dot."""
    named = ((MEMBER_NAME.fullmatch(name), offset, length) for name, offset, length in read_members(file, size))
    for key, group in groupby((m for m in named if m[0]), key=lambda m: m[0][1]):
        parts: dict[str, tuple[int, int]] = {}
        for match, offset, length in group:
            if match[2].lower() in parts:
                raise ValueError(f"{key}.{match[2]} is in it twice")
            parts[match[2].lower()] = offset, length
        image = next((parts[extension] for extension in IMAGE_EXTENSIONS if extension in parts), None)
        if image is None:
            raise ValueError(
                f"{key} has no image: there are {', '.join(parts)}, but none of {', '.join(IMAGE_EXTENSIONS)}"
            )
        member = "cls" if label == "cls" else "json"
        if member not in parts:
            raise ValueError(
                f"{key} has no class: there are {', '.join(parts)}, but no {member}. Say where it is: data.label=cls "
                "for the member of that name, data.label=NAME for a field of the json member"
            )
        offset, length = parts[member]
        file.seek(offset)
        yield key, *image, parse_classes(file.read(length), key, label)


def parse_classes(content: bytes, key: str, label: str) -> list[int]:
    """The classes of a sample: the number in its ``cls``, or a number or a list of numbers in a field of its json."""
    try:
        value: Any = int(content) if label == "cls" else json.loads(content)
    except (ValueError, RecursionError):
        value = content[:40].decode("utf-8", "replace")
    if label != "cls":
        if not isinstance(value, dict) or label not in value:
            there = f"it has {', '.join(value)}" if isinstance(value, dict) else "it is no json object"
            raise ValueError(f"{key}.json has no field {label!r}: {there}. Name the field of the classes: data.label=")
        value = value[label]
    values = value if isinstance(value, list) else [value]
    if not values or any(type(one) is not int or not 0 <= one < 2**31 for one in values):
        raise ValueError(f"the class of {key} is {value!r}, and not a number from 0 up")
    return list(dict.fromkeys(values))
