"""The captions of a sample: lines of its text member, or a field of its json."""

import zlib
from typing import BinaryIO

from vitrun.data.sources.captions.listing import EMPTY, NO_CAPTION, NOT_UTF8, clean_captions
from vitrun.data.sources.shards.members import Parts, parse_json, read_part

FAULTS = ("", NO_CAPTION, EMPTY, NOT_UTF8)  # by their numbers in an index
MOST_APART = 2**31  # bytes between an image and its caption: an index has 32 bits for it


def locate_captions(file: BinaryIO, parts: Parts, caption: str, start: int) -> list[int]:
    """Return where a sample's captions are: in the member with the extension ``caption``, else in the json.

    These are the member's offset from ``start``, size, checksum, its number in ``FAULTS``, and 1 for the json.
    """
    is_json = caption.lower() not in parts
    name = "json" if is_json else caption.lower()
    if name not in parts:
        return [0, 0, 0, FAULTS.index(NO_CAPTION), 0]
    content = read_part(file, parts[name])
    _, fault = clean_captions(split_captions(content, caption if is_json else None))
    offset, size = parts[name]
    if abs(offset - start) >= MOST_APART:
        raise ValueError(f"its caption is {abs(offset - start):,} bytes away from its image: make the shard again")
    return [offset - start, size, zlib.crc32(content) >> 1, FAULTS.index(fault), int(is_json)]


def split_captions(content: bytes, field: str | None) -> list[str | None]:
    """Return the captions in a member: each line of a text, or the text or the list in a ``field`` of a json."""
    if field is None:
        return [*content.decode("utf-8-sig", "surrogateescape").splitlines()] or [""]
    fields = parse_json(content)
    value = fields.get(field) if isinstance(fields, dict) else None
    return [text if isinstance(text, str) else None for text in (value if isinstance(value, list) else [value])]
