"""Random access to data compressed by Snappy, which compresses each fragment of 64 KiB on its own.

Source: google/snappy, format_description.txt, and kBlockSize in snappy.h. Photographs cannot be compressed further, so
that a fragment is one or a few literal elements, and finding its start takes no time.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

FRAGMENT = 1 << 16  # uncompressed bytes


def find_fragments(data: bytes) -> tuple[list[int], int] | None:
    """Return where each fragment begins in compressed ``data``, and the last one ends, and the uncompressed length.

    Return None if an element reaches over the end or the start of its fragment, as other programs may write it.
    """
    length, place = parse_length(data)
    starts, end, at = [], len(data), 0  # at: uncompressed bytes so far
    first = -FRAGMENT  # of the fragment
    while place < end:
        if at >= first + FRAGMENT:
            if at > first + FRAGMENT:
                return None
            first = at
            starts.append(place)
        tag = data[place]
        kind = tag & 3
        if kind == 0:  # a literal
            size, place = (tag >> 2) + 1, place + 1
            if size > 60:
                extra = size - 60
                size = int.from_bytes(data[place : place + extra], "little") + 1
                place += extra
            place += size
        else:  # a copy of what came before
            if kind == 1:
                size, back = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[place + 1]
            else:
                size, back = (tag >> 2) + 1, int.from_bytes(data[place + 1 : place + (3 if kind == 2 else 5)], "little")
            place += (0, 2, 3, 5)[kind]
            if back > at - first:
                return None
        at += size
    if at != length or place != end or at > first + FRAGMENT:
        raise ValueError("a page is not what Snappy wrote")
    return [*starts, end], length


def parse_length(data: bytes) -> tuple[int, int]:
    """Return the uncompressed length that compressed data begins with, and where that number ends."""
    length = place = 0
    while True:
        byte = data[place]
        length |= (byte & 0x7F) << 7 * place
        place += 1
        if byte < 0x80:
            return length, place


def format_length(length: int) -> bytes:
    """Return the uncompressed length as compressed data begins with it."""
    groups = []
    while length >= 0x80:
        groups.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*groups, length])


def cut_fragments(codec: "pyarrow.Codec", packed: bytes, length: int, start: int, size: int) -> bytes:
    """Return ``size`` bytes from ``start`` of ``length`` uncompressed ones, given the fragments that hold them."""
    first, last = start // FRAGMENT, (start + size - 1) // FRAGMENT
    base = first * FRAGMENT
    number = min((last + 1) * FRAGMENT, length) - base
    content: bytes = codec.decompress(format_length(number) + packed, number, asbytes=True)
    return content[start - base : start - base + size]
