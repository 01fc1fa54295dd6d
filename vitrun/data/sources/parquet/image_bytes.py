"""The bytes of the images in parquet files, each read on its own from where it lies."""

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vitrun.data.sources.parquet.pages import TOTAL_UNCOMPRESSED, Values, locate_values, read_chunks
from vitrun.data.sources.parquet.snappy import FRAGMENT, cut_fragments
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.array_cache import identify_files, load_arrays, name_arrays, store_arrays
from vitrun.runtime.console import track_progress
from vitrun.runtime.memory import lacks_memory

if TYPE_CHECKING:
    import pyarrow.parquet

INDEX_FORMAT = 1  # a new number makes vitrun scan all files again
MOST_MAPPED = 400  # files that stay open, of the 1,024 that are usual for a process
STORED_FROM = 2**30  # bytes of files from which on an index is stored: scanning fewer takes a few seconds


@dataclass(frozen=True)
class ByteRanges:
    """Where the N images of a column lie in its files, whose P pages have F fragments."""

    pages: np.ndarray  # [N] int32, index of the page
    starts: np.ndarray  # [N] int64, in the uncompressed page; in the file if the page is not compressed
    sizes: np.ndarray  # [N] int64, in bytes; -1 if there is none
    files: np.ndarray  # [P] int32, index of the file
    lengths: np.ndarray  # [P] int64, in bytes, uncompressed
    firsts: np.ndarray  # [P + 1] int64, the first fragment of each page
    fragments: np.ndarray  # [F] int64, where each begins in the file, and each page's last one ends


def map_file(path: Path) -> memoryview:
    """Return the content of a file, memory-mapped."""
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def make_slicer(paths: Sequence[Path]) -> Callable[[int, int, int], bytes]:
    """Return a function that reads a file, by its index, from a start to an end; threads and forks may share it."""
    if len(paths) <= MOST_MAPPED:
        maps = [map_file(path) for path in paths]
        return lambda file, start, end: bytes(maps[file][start:end])

    def read_range(file: int, start: int, end: int) -> bytes:
        with open(paths[file], "rb", buffering=0) as content:
            content.seek(start)
            return content.read(end - start)

    return read_range


def make_reader(paths: Sequence[Path], ranges: ByteRanges) -> Callable[[int], bytes | None]:
    """Return a function that reads the bytes of one image, None if it has none; threads and forks may share it."""
    import pyarrow

    read_range, codec = make_slicer(paths), pyarrow.Codec("snappy")

    def read_bytes(row: int) -> bytes | None:
        start, size, page = int(ranges.starts[row]), int(ranges.sizes[row]), ranges.pages[row]
        if size <= 0:
            return b"" if size == 0 else None
        file = ranges.files[page]
        first, last = ranges.firsts[page], ranges.firsts[page + 1]
        if first == last:
            return read_range(file, start, start + size)
        base = first + start // FRAGMENT
        packed = read_range(file, ranges.fragments[base], ranges.fragments[first + (start + size - 1) // FRAGMENT + 1])
        return cut_fragments(codec, packed, int(ranges.lengths[page]), start, size)

    return read_bytes


def locate_images(
    paths: Sequence[Path], files: Sequence["pyarrow.parquet.FileMetaData"], leaf: int, tick: Callable[[], None]
) -> ByteRanges:
    """Return where the values of the column with index ``leaf`` lie; scan the files if that is not stored yet.

    Raise NotInPlace if they cannot be read one by one, UserError if a file is damaged.
    """
    if sum(path.stat().st_size for path in paths) < STORED_FROM:
        return join_values(scan_files(paths, files, leaf, tick))
    store = name_arrays([INDEX_FORMAT, leaf, identify_files(paths)])
    if (arrays := load_arrays(store)) is not None:
        return ByteRanges(**arrays)
    scanned = track_progress(scan_files(paths, files, leaf, tick), len(paths), "parquet files indexed")
    ranges = join_values(scanned)
    store_arrays(store, vars(ranges))
    return ranges


def scan_files(
    paths: Sequence[Path], files: Sequence["pyarrow.parquet.FileMetaData"], leaf: int, tick: Callable[[], None]
) -> Iterator[list[Values]]:
    """Yield where the values of each file lie, by row group; raise UserError if it is damaged."""
    for path, file in zip(paths, files, strict=True):
        tick()
        content, levels = map_file(path), file.schema.column(leaf).max_definition_level
        try:
            yield [locate_values(content, chunk, levels) for chunk in read_chunks(content, leaf)]
        except (ValueError, IndexError, KeyError, OSError, TypeError, OverflowError, MemoryError) as error:
            if lacks_memory(error, path):
                raise
            raise UserError(f"{path} is damaged ({error}): download or make it again.", ExitCode.DATA) from None


def measure_column(paths: Sequence[Path], leaf: int) -> int:
    """Return the uncompressed size in bytes of the column with index ``leaf`` in all files."""
    return sum(chunk[TOTAL_UNCOMPRESSED] for path in paths for chunk in read_chunks(map_file(path), leaf))


def join_values(parts: Iterator[list[Values]]) -> ByteRanges:
    """Return where the values of all files lie."""
    pages, starts, sizes, files, lengths, fragments = ([np.zeros(0, np.int64)] for _ in range(6))
    counts = [np.zeros(1, np.int64)]  # of the fragments of each page
    before = 0  # pages
    for number, groups in enumerate(parts):
        for values in groups:
            pages.append(values.pages + before)
            starts.append(values.starts)
            sizes.append(values.sizes)
            lengths.append(np.array(values.lengths, np.int64))
            files.append(np.full(len(values.lengths), number))
            counts.append(np.array([len(page) for page in values.fragments], np.int64))
            fragments += [np.array(page, np.int64) for page in values.fragments if page]
            before += len(values.lengths)
    joined = [np.concatenate(arrays) for arrays in (pages, starts, sizes, files, lengths, fragments)]
    return ByteRanges(
        pages=joined[0].astype(np.int32), starts=joined[1], sizes=joined[2], files=joined[3].astype(np.int32),
        lengths=joined[4], firsts=np.cumsum(np.concatenate(counts)), fragments=joined[5],
    )  # fmt: skip
