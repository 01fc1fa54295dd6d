"""The values of a column of bytes in a parquet file: where each of them lies in the file.

pyarrow reads whole row groups, which hold hundreds of images. The format (parquet-format 2.11: README.md, Encodings.md,
parquet.thrift) stores values behind one another in pages, each with its length before it, so that one image can be read
on its own where pages are not compressed, or compressed by Snappy (see ``snappy.py``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrun.data.sources.parquet.snappy import find_fragments
from vitrun.data.sources.parquet.thrift import parse_struct, parse_varint

DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3  # PageType
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8  # Encoding
# Numbers of the fields of PageHeader, DataPageHeader, DictionaryPageHeader and DataPageHeaderV2
TYPE, COMPRESSED_SIZE, V1_HEADER, DICTIONARY_HEADER, V2_HEADER = 1, 3, 5, 7, 8
NUMBER, V1_ENCODING, V1_LEVELS, V2_ENCODING, V2_LEVELS_SIZE, V2_COMPRESSED = 1, 2, 3, 4, 5, 7


UNCOMPRESSED, SNAPPY = 0, 1  # CompressionCodec
CODECS = ("none", "Snappy", "gzip", "LZO", "Brotli", "LZ4", "zstd", "LZ4")
# Numbers of the fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData
ROW_GROUPS, COLUMNS, META_DATA = 4, 1, 3
CODEC, NUM_VALUES, TOTAL_UNCOMPRESSED, TOTAL_COMPRESSED, DATA_OFFSET, DICTIONARY_OFFSET = 4, 5, 6, 7, 9, 11


class NotInPlace(Exception):
    """A column whose values cannot be read one by one, because of its encoding or compression."""


@dataclass(frozen=True)
class Values:
    """Where N values lie, by page; missing ones have the size -1."""

    pages: np.ndarray  # [N] index of the page
    starts: np.ndarray  # [N] in the uncompressed page; in the file if the page is not compressed
    sizes: np.ndarray  # [N] in bytes
    # where each page's fragments begin in the file, and the last one ends; [] if uncompressed
    fragments: list[list[int]]
    lengths: list[int]  # bytes of each page, uncompressed


def read_chunks(file: memoryview, leaf: int) -> list[dict[int, int]]:
    """Return the facts about the column with index ``leaf`` in each row group of a file, by the fields' numbers.

    pyarrow 26 has them too, but ends the process where they are damaged.
    """
    end = len(file) - 8  # the footer, its size in four bytes, PAR1
    size = int.from_bytes(file[end : end + 4], "little")
    footer, _ = parse_struct(file, end - size)
    return [group[COLUMNS][leaf][META_DATA] for group in footer[ROW_GROUPS]]


def locate_values(file: memoryview, chunk: dict[int, int], most_levels: int) -> Values:
    """Return where the values of a column in one row group lie in ``file``, whose maximum definition level is given.

    Raise NotInPlace if they cannot be read one by one, ValueError or IndexError if the file is damaged.
    """
    if chunk[CODEC] not in (UNCOMPRESSED, SNAPPY):
        raise NotInPlace(f"compressed by {CODECS[chunk[CODEC]]}")
    compressed = chunk[CODEC] == SNAPPY
    pages, starts, sizes = (np.full(chunk[NUM_VALUES], -1, np.int64) for _ in range(3))
    values = Values(pages, starts, sizes, fragments=[], lengths=[])
    row, dictionary = 0, None
    for header, at, size in iterate_pages(file, chunk):
        if header[TYPE] == DICTIONARY_PAGE:
            content, base = add_page(values, file[at : at + size], at, compressed)
            starts, sizes = walk_plain(content, header[DICTIONARY_HEADER][NUMBER])
            dictionary = len(values.lengths) - 1, starts + base, sizes
        elif header[TYPE] in (DATA_PAGE, DATA_PAGE_V2):
            present, encoding, content, base = open_page(
                values, file[at : at + size], at, header, (compressed, most_levels)
            )
            rows = row + np.flatnonzero(present)
            if encoding == PLAIN:
                starts, sizes = walk_plain(content, len(rows))
                page, starts = len(values.lengths) - 1, starts + base
            elif encoding in (PLAIN_DICTIONARY, RLE_DICTIONARY) and dictionary is not None:
                chosen = decode_rle(content[1:], content[0], len(rows)) if len(rows) else rows
                page, starts, sizes = dictionary[0], dictionary[1][chosen], dictionary[2][chosen]
            else:
                raise NotInPlace(f"encoding {encoding}")
            values.pages[rows], values.starts[rows], values.sizes[rows] = page, starts, sizes
            row += len(present)
    if row != chunk[NUM_VALUES]:
        raise ValueError("a column has not all of its pages")
    return values


def open_page(
    values: Values, packed: memoryview, at: int, header: dict[int, Any], column: tuple[bool, int]
) -> tuple[np.ndarray, int, memoryview, int]:
    """Add a data page, ``packed`` in the file at ``at``, to ``values``.

    Return which of its rows have a value, the encoding of the values, their content, and what their starts in it are
    counted from. ``column`` says whether it is compressed, and its maximum definition level.
    """
    compressed, most_levels = column
    if header[TYPE] == DATA_PAGE_V2:  # its levels are not compressed
        facts = header[V2_HEADER]
        place = facts[V2_LEVELS_SIZE]
        levels, encoding = packed[:place], facts[V2_ENCODING]
        content, base = add_page(values, packed[place:], at + place, compressed and facts.get(V2_COMPRESSED, True))
    else:
        facts = header[V1_HEADER]
        encoding, place = facts[V1_ENCODING], 0
        content, base = add_page(values, packed, at, compressed)
        if most_levels:
            if facts[V1_LEVELS] != RLE:
                raise NotInPlace("levels that are not RLE")
            place = 4 + int.from_bytes(content[:4], "little")
        levels, content, base = content[4:place], content[place:], base + place
    if not 0 <= facts[NUMBER] <= len(values.pages):
        raise ValueError("a page has more values than its column")
    present = np.ones(facts[NUMBER], bool)
    if most_levels:
        present = decode_rle(levels, most_levels.bit_length(), len(present)) == most_levels
    return present, encoding, content, base


def iterate_pages(file: memoryview, chunk: dict[int, int]) -> Iterator[tuple[dict[int, Any], int, int]]:
    """Yield the header of each page of a column chunk, and where its content begins, and its size in the file."""
    at = min(chunk.get(DICTIONARY_OFFSET) or chunk[DATA_OFFSET], chunk[DATA_OFFSET])
    end = at + chunk[TOTAL_COMPRESSED]
    if not 0 < at <= end <= len(file):
        raise ValueError("a column lies outside the file")
    while at < end:
        header, at = parse_struct(file, at)
        size = header[COMPRESSED_SIZE]
        if not 0 <= size <= end - at:
            raise ValueError("a page is longer than its column")
        yield header, at, size
        at += size


def add_page(values: Values, content: memoryview, at: int, compressed: bool) -> tuple[memoryview, int]:
    """Add a page's ``content``, in the file at ``at``, to ``values``.

    Return it uncompressed, and what its values' starts are counted from.
    """
    import pyarrow

    if not compressed:
        values.fragments.append([])
        values.lengths.append(len(content))
        return content, at
    fragments = find_fragments(bytes(content))
    if fragments is None:
        raise NotInPlace("Snappy of another library")
    starts, length = fragments
    values.fragments.append([at + start for start in starts])
    values.lengths.append(length)
    return memoryview(pyarrow.Codec("snappy").decompress(content, length, asbytes=True)), 0


def walk_plain(content: memoryview, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where ``number`` values begin in a page of encoding PLAIN, and their sizes: each has its own before it."""
    if not 0 <= number <= len(content) // 4:
        raise ValueError("a page has more values than bytes")
    starts, sizes, place = np.empty(number, np.int64), np.empty(number, np.int64), 0
    for value in range(number):
        size = int.from_bytes(content[place : place + 4], "little")
        starts[value], sizes[value] = place + 4, size
        place += 4 + size
    if place > len(content):
        raise ValueError("a value is longer than its page")
    return starts, sizes


def decode_rle(content: memoryview, width: int, number: int) -> np.ndarray:
    """Return ``number`` integers of ``width`` bits in parquet's hybrid of run lengths and bit packing."""
    parts, place, have = [np.zeros(0, np.int64)], 0, 0
    bytes_each = (width + 7) // 8
    while have < number:
        run, place = parse_varint(content, place)
        if run & 1:  # groups of eight values, the lowest bit first
            size = (run >> 1) * width
            bits = np.unpackbits(np.frombuffer(content[place : place + size], np.uint8), bitorder="little")
            groups = (
                bits[: len(bits) // width * width].reshape(-1, width)
                if width
                else np.zeros((min(8 * (run >> 1), number), 0))
            )
            parts.append(groups.astype(np.int64) @ (1 << np.arange(width, dtype=np.int64)))
            place += size
        else:
            value = int.from_bytes(content[place : place + bytes_each], "little")
            parts.append(np.full(min(run >> 1, number - have), value, np.int64))
            place += bytes_each
        if not len(parts[-1]):
            raise ValueError("a run of levels is empty")
        have += len(parts[-1])
    return np.concatenate(parts)[:number]
