"""TFRecord files of ``tf.Example``, written byte by byte."""

import struct


def encode_varint(number: int) -> bytes:
    """Encode a number in base 128, low digits first."""
    digits = []
    while number >= 128:
        digits.append(number % 128 + 128)
        number //= 128
    return bytes([*digits, number])


def encode_message(**fields: bytes) -> bytes:
    """Encode a protobuf message of the byte fields ``f1``, ``f2`` ..."""
    return b"".join(
        encode_varint(int(name[1:]) << 3 | 2) + encode_varint(len(data)) + data for name, data in fields.items()
    )


def encode_example(features: dict[str, bytes | int]) -> bytes:
    """Encode a ``tf.Example`` of bytes and integers."""
    entries = []
    for name, value in features.items():
        packed = isinstance(value, int) and value % 2  # both forms of a list of integers are legal
        if isinstance(value, bytes):
            feature = encode_message(f1=encode_message(f1=value))
        else:
            feature = encode_message(
                f3=encode_message(f1=encode_varint(value)) if packed else encode_varint(1 << 3) + encode_varint(value)
            )
        entries.append(encode_message(f1=encode_message(f1=name.encode(), f2=feature)))
    return encode_message(f1=b"".join(entries))


def compute_crc32c(data: bytes) -> int:
    """Return the CRC of Castagnoli's polynomial 0x1EDC6F41, bit by bit from the highest, unlike the reader's."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= int(f"{byte:08b}"[::-1], 2) << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x1EDC6F41 if crc >> 31 else 0)) & 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2) ^ 0xFFFFFFFF


def mask_crc(data: bytes) -> bytes:
    """Return the CRC as TFRecord writes it: rotated right by 15 bits, plus a constant."""
    crc = compute_crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def encode_record(data: bytes) -> bytes:
    """Encode a record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + mask_crc(length) + data + mask_crc(data)
