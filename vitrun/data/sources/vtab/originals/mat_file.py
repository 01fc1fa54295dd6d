"""Arrays of MATLAB files, whose size is checked before they are read: a few compressed bytes may stand for any number.

A file of version 5 or 7 has a header and then elements: a kind and a number of bytes (4 bytes each), and the bytes,
which for a compressed element are a zlib stream with an array in it (MAT-File Format, MathWorks, chapter 1).
"""

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vitrun.runtime.files import MAX_BYTES

HEADER = 128  # bytes, the last two of which tell the order of bytes
ORDERS = {b"IM": "<", b"MI": ">"}
COMPRESSED = 15  # the kind of a compressed element
CHUNK = 2**16  # bytes that are inflated at a time


def read_mat_arrays(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Return the named arrays of a file. Raise ValueError if its arrays take more than ``MAX_BYTES``."""
    from scipy.io import loadmat

    if measure_arrays(path) > MAX_BYTES:
        raise ValueError(f"its arrays take more than {MAX_BYTES / 1e6:,.0f} MB")
    arrays = loadmat(path, variable_names=names)
    return [arrays[name] for name in names]


def measure_arrays(path: Path) -> int:
    """Return the bytes of all elements, inflated, as far as they are not much more than ``MAX_BYTES``."""
    total = 0
    with open(path, "rb") as file:
        order = ORDERS.get(file.read(HEADER)[-2:])
        while order and total <= MAX_BYTES and len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            end = file.tell() + length
            if kind == COMPRESSED:
                total += measure_stream(file, length)
            else:
                total += min(length, os.fstat(file.fileno()).st_size)
            file.seek(end)
    return total


def measure_stream(file: BinaryIO, length: int) -> int:
    """Return the inflated size of the zlib stream in the next bytes, as far as it is not much more than allowed."""
    end, stream, total = file.tell() + length, zlib.decompressobj(), 0
    while total <= MAX_BYTES and not stream.eof:
        data = stream.unconsumed_tail or file.read(min(CHUNK, end - file.tell()))
        if not data:  # it is cut short, as reading it will report
            break
        total += len(stream.decompress(data, 16 * CHUNK))
    return total
