"""Structs in Thrift's compact protocol, in which parquet files describe themselves (thrift-compact-protocol.md)."""

from typing import Any

TRUE, FALSE, BYTE, DOUBLE, TEXT, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12  # types of fields
INTEGERS = (4, 5, 6)  # of 16, 32 and 64 bits
DEEPEST = 20  # structs in one another


def parse_struct(content: memoryview, place: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Return the values of a struct by the numbers of its fields, and where it ends; raise ValueError if it is none."""
    if depth > DEEPEST or place < 0:
        raise ValueError("a header is damaged")
    fields: dict[int, Any] = {}
    field = 0
    while kind := content[place]:
        place += 1
        if kind >> 4:
            field += kind >> 4
        else:
            field, place = parse_integer(content, place)
        fields[field], place = parse_value(content, place, kind & 0x0F, depth)
    return fields, place + 1


def parse_value(content: memoryview, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """Return a value of a type of fields, and where it ends; None stands for bytes and texts."""
    if kind in (TRUE, FALSE):
        return kind == TRUE, place
    if kind in INTEGERS:
        return parse_integer(content, place)
    if kind == TEXT:
        size, place = parse_varint(content, place)
        return None, place + size
    if kind == STRUCT:
        return parse_struct(content, place, depth + 1)
    if kind in (LIST, SET):
        return parse_list(content, place, depth)
    if kind in (BYTE, DOUBLE):
        return None, place + (1 if kind == BYTE else 8)
    raise ValueError(f"a header has a field of type {kind}")


def parse_list(content: memoryview, place: int, depth: int) -> tuple[list[Any], int]:
    """Return the values of a list, and where it ends."""
    number, kind = content[place] >> 4, content[place] & 0x0F
    place += 1
    if number == 15:
        number, place = parse_varint(content, place)
    if kind in (TRUE, FALSE):  # a byte each
        return [None] * min(number, len(content) - place), place + number
    values = []
    for _ in range(number):
        value, place = parse_value(content, place, kind, depth)
        values.append(value)
    return values, place


def parse_integer(content: memoryview, place: int) -> tuple[int, int]:
    """Return a signed number, and where it ends."""
    number, place = parse_varint(content, place)
    return number >> 1 ^ -(number & 1), place


def parse_varint(content: memoryview, place: int) -> tuple[int, int]:
    """Return an unsigned number in groups of seven bits, the lowest first, and where it ends."""
    number = shift = 0
    while True:
        byte = content[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
        if shift > 63:
            raise ValueError("a number of a header is too long")
