"""The content of the members of a sample that are texts."""

import json
from typing import BinaryIO

from vitrun.runtime.files import MAX_TEXT

Parts = dict[str, tuple[int, int]]  # offset and size of each member of a sample, by extension in lower case


def read_part(file: BinaryIO, part: tuple[int, int]) -> bytes:
    """Return the content of a member; raise ValueError if it is too long for a label."""
    offset, length = part
    if length > MAX_TEXT:
        raise ValueError(f"the label or json at byte {offset} has {length / 1e6:,.0f} MB: make the shard again")
    file.seek(offset)
    return file.read(length)


def parse_json(content: bytes) -> object:
    """Return the value of a JSON text; the start of the text itself if it is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return show_start(content)


def show_start(content: bytes) -> str:
    """Return the start of a text, for messages."""
    return content[:40].decode("utf-8", "replace")
