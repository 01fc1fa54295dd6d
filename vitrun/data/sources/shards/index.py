"""The index of the images in shards: made once from the headers of the tar files, then memory-mapped."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from errno import EACCES, EPERM
from pathlib import Path

import numpy as np

from vitrun.data.sources.shards.samples import PassedOver, Sample, Wanted, read_samples
from vitrun.errors import ExitCode, UserError, advise_writing
from vitrun.runtime.console import track_progress
from vitrun.runtime.files import hash_file, remove_partials, write_atomic
from vitrun.runtime.process import share_folder
from vitrun.runtime.user_cache import user_cache_folder

INDEX_FORMAT = 3  # a new number makes vitrun scan all shards again
ARRAYS = ("starts", "offsets", "sizes", "labels", "letters", "ends")
HASHES_FILE = "hashes.json"  # the BLAKE3 hash of each other file of an index
INDEX_FOLDER = ".vitrun-index"  # the folder beside the shards


@dataclass(frozen=True)
class Index:
    """The N images of S shards; label lists are padded with -1."""

    starts: np.ndarray  # [S + 1] int64, the first image of each shard, then N
    offsets: np.ndarray  # [N] int64, start of each image in its shard, in bytes
    sizes: np.ndarray  # [N] uint32, in bytes
    labels: np.ndarray  # [N] int32, or [N, K] if images have up to K labels; where captions are, [N, 5]
    letters: np.ndarray  # uint8, the names of all images, concatenated
    ends: np.ndarray  # [N] int64, end of each name in `letters`
    fingerprint: str  # of names, labels and sizes, not of paths and times
    passed_over: PassedOver  # the files in the shards that are not read

    def name(self, image: int) -> str:
        """Return the name of an image in its shard."""
        first = self.ends[image - 1] if image else 0
        return self.letters[first : self.ends[image]].tobytes().decode("utf-8", "replace")

    def shard(self, image: int) -> int:
        """Return the number of the shard that holds an image."""
        return int(np.searchsorted(self.starts, image, side="right")) - 1


def open_index(root: Path, shards: Sequence[str], wanted: Wanted, tick: Callable[[], None] = lambda: None) -> Index:
    """Return the index of ``shards`` in ``root``, with memory-mapped arrays; scan the shards if there is none.

    The scan calls ``tick`` before each shard.
    """
    folder = index_folder(root, shards, wanted)
    passed_over = PassedOver()

    def scan() -> Iterator[list[Sample]]:
        for shard in shards:
            tick()
            yield scan_shard(root / shard, wanted, passed_over)

    if not folder.is_dir():
        write_index(folder, shards, scan(), passed_over)
    try:
        check_hashes(folder)
        arrays = {name: np.asarray(np.load(folder / f"{name}.npy", "r", allow_pickle=False)) for name in ARRAYS}
        passed_over = PassedOver(**json.loads((folder / "passed_over.json").read_text(encoding="utf-8")))
        fingerprint = (folder / "fingerprint").read_text(encoding="ascii")
        return Index(**arrays, fingerprint=fingerprint, passed_over=passed_over)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"The index {folder} is damaged ({error}): delete it, and it is made again.", ExitCode.DATA
        ) from None


def index_folder(root: Path, shards: Sequence[str], wanted: Wanted) -> Path:
    """Return the folder of an index, named by a hash of the shards' names, sizes and times.

    One of these is ctime, which no program can set back. The folder is next to the shards if theirs is writable, else
    in the user's cache.
    """
    states = [(root / shard).stat() for shard in shards]
    facts = [
        INDEX_FORMAT,
        *astuple(wanted)[: 2 if wanted.caption is None else 3],
        [(s, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for s, state in zip(shards, states)],
    ]
    parent = root / INDEX_FOLDER if os.access(root, os.W_OK) else user_cache_folder() / "index"
    return parent / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def write_index(
    folder: Path, shards: Sequence[str], shard_samples: Iterable[list[Sample]], passed_over: PassedOver = PassedOver()
) -> None:
    """Write the index made of the samples of each shard; the folder appears whole or not at all."""
    parts = [pack_samples(samples) for samples in track_progress(shard_samples, len(shards), "shards indexed")]
    columns = [np.concatenate([part[i] for part in parts]) for i in range(4)]
    offsets, sizes, lengths, letters = columns
    width = max(part[4].shape[1] for part in parts)
    labels = np.concatenate([np.pad(p[4], ((0, 0), (0, width - p[4].shape[1])), constant_values=-1) for p in parts])
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    labels = labels[:, 0] if width == 1 else labels
    arrays = dict(zip(ARRAYS, (starts, offsets, sizes, labels, letters, np.cumsum(lengths, dtype=np.int64))))
    texts = {"fingerprint": fingerprint_arrays(shards, arrays), "passed_over.json": json.dumps(asdict(passed_over))}
    write_arrays(folder, arrays, texts)


def write_arrays(folder: Path, arrays: dict[str, np.ndarray], texts: dict[str, str]) -> None:
    """Write arrays and short texts; if another process has written the same folder meanwhile, leave that one."""

    def write(partial: Path) -> None:
        partial.mkdir()
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        hashes = {file.name: hash_file(file) for file in sorted(partial.iterdir())}
        (partial / HASHES_FILE).write_text(json.dumps(hashes), encoding="utf-8")

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with share_folder(folder.parent, lambda: remove_partials(folder.parent, r"[0-9a-f]{16}(\.npz)?")):
            write_atomic(folder, write)
    except OSError as error:
        if not folder.is_dir():
            raise UserError(
                f"The index {folder} cannot be written: {error.strerror}. {advise_writing(error)}.",
                ExitCode.SPACE,
            ) from None


def check_hashes(folder: Path) -> None:
    """Raise ValueError if a file of an index is not as it was written."""
    for name, digest in json.loads((folder / HASHES_FILE).read_text(encoding="utf-8")).items():
        if hash_file(folder / name) != digest:
            raise ValueError(f"{name} is not what was written")


def pack_samples(samples: list[Sample]) -> tuple[np.ndarray, ...]:
    """Return offsets, sizes, lengths of names, their letters, and labels [n, K] of one shard's samples."""
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
    """Return 16 hex digits of a SHA-256 over the shards' names, and the images' names, labels and sizes."""
    code = hashlib.sha256("\n".join(shards).encode("utf-8", "surrogateescape"))
    for name in ("starts", "sizes", "labels", "ends", "letters"):
        code.update(np.ascontiguousarray(arrays[name]).data)
    return code.hexdigest()[:16]


def scan_shard(shard: Path, wanted: Wanted, passed_over: PassedOver) -> list[Sample]:
    """Return the samples of a shard; raise a UserError that says what is wrong in it."""
    try:
        with open(shard, "rb") as file:
            here = PassedOver()
            samples = list(read_samples(file, shard.stat().st_size, wanted, here))
    except OSError as error:
        advice = ". Make it readable" if error.errno in (EACCES, EPERM) else ""
        raise UserError(f"The shard {shard} cannot be read: {error.strerror}{advice}.", ExitCode.DATA) from None
    except ValueError as error:
        raise UserError(f"The shard {shard} cannot be used: {error}.", ExitCode.DATA) from None
    if not samples:
        raise UserError(f"The shard {shard} cannot be used: it has no images.", ExitCode.DATA)
    passed_over.count += here.count
    passed_over.example = passed_over.example or here.example and f"{shard.name}/{here.example}"
    return samples
