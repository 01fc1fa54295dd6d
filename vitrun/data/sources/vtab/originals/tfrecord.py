"""TFRecord files and the ``tf.Example`` messages in them, without TensorFlow: the first value of each feature.

A record is its length (8 bytes, little-endian), the masked CRC-32C of that, the message, and the message's CRC
(tensorflow/core/lib/io/record_writer.h). A message is protobuf's wire format (protobuf.dev/programming-guides/encoding)
of tensorflow/core/example/example.proto and feature.proto.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from vitrun.runtime.files import MAX_BYTES

POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected
CRC_MASK = 0xA282EAD8  # is added to a rotated CRC, since a CRC of data that contains CRCs is problematic
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


def read_records(file: BinaryIO) -> Iterator[tuple[int, memoryview]]:
    """Yield the messages of a file and their offsets. Raise ValueError if a length is damaged or the file is cut."""
    size = os.fstat(file.fileno()).st_size
    while header := file.read(12):
        if len(header) < 12:
            raise ValueError(f"it ends within the length of a record, at byte {file.tell()}")
        length, check = struct.unpack("<QI", header)
        if masked_crc(header[:8]) != check:
            raise ValueError(f"the length of the record at byte {file.tell() - 12} does not match its checksum")
        start = file.tell()
        if length + 4 > size - start:
            raise ValueError(f"it ends within the record at byte {start - 12}")
        if length > MAX_BYTES:
            raise ValueError(f"the record at byte {start - 12} has {length:,} bytes, which no frame has")
        yield start, memoryview(file.read(length + 4))[:length]


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of a few bytes, masked as in TFRecord."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ POLYNOMIAL * (crc & 1)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + CRC_MASK) & 0xFFFFFFFF


def parse_example(message: memoryview) -> dict[str, int | slice]:
    """Return the first value of each feature of a ``tf.Example``: an integer, or the slice of its bytes."""
    values = {}
    for features in select_fields(message, slice(0, len(message)), 1):
        for entry in select_fields(message, features, 1):
            (name,), (feature,) = select_fields(message, entry, 1), select_fields(message, entry, 2)
            values[bytes(message[name]).decode()] = parse_value(message, feature)
    return values


def parse_value(message: memoryview, feature: slice) -> int | slice:
    """Return the first of a Feature's bytes or integers. Raise ValueError if it has neither."""
    for number, content in parse_fields(message, feature):
        if not isinstance(content, slice):
            continue
        inner = [value for field, value in parse_fields(message, content) if field == 1]
        if number == 1:
            return inner[0]
        if number == 3:  # integers are packed one after another, or each is a field
            return as_signed(parse_varint(message, inner[0].start)[0] if isinstance(inner[0], slice) else inner[0])
    raise ValueError("a feature holds neither bytes nor integers")


def select_fields(message: memoryview, inside: slice, number: int) -> list[slice]:
    """Return the fields ``number`` of the message at ``inside``, each a message or bytes."""
    fields = (value for field, value in parse_fields(message, inside) if field == number)
    return [value for value in fields if isinstance(value, slice)]


def parse_fields(message: memoryview, inside: slice) -> Iterator[tuple[int, int | slice]]:
    """Yield the fields of the message at ``inside``: the number, and an integer or the slice of its bytes."""
    at = inside.start
    while at < inside.stop:
        tag, at = parse_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = parse_varint(message, at)
            yield number, value
            continue
        length, at = parse_varint(message, at) if kind == BYTES else ({FIXED64: 8, FIXED32: 4}[kind], at)
        if at + length > inside.stop:
            raise ValueError(f"a field of {length} bytes does not fit its message")
        yield number, slice(at, at + length)
        at += length


def parse_varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number of 64 bits in base 128 at ``at`` (low digits first), and the position after it."""
    number, shift = 0, 0
    while message[at] & 0x80:
        if shift > 63:
            raise ValueError("an integer has more than 64 bits")
        number |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return (number | message[at] << shift) & (2**64 - 1), at + 1


def as_signed(number: int) -> int:
    """Return an unsigned 64-bit number read as a signed one."""
    return number - 2**64 if number >= 2**63 else number
