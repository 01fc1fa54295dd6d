"""The headers of a tar file, read without the content between them."""

from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 512
EMPTY_BLOCK = bytes(BLOCK)
REGULAR_FILE_TYPES = (b"0", b"\0", b"7")  # type flags of regular files
METADATA_TYPES = (b"x", b"L", b"g", b"K")  # pax header, GNU long name, global pax header, GNU long link
MAKE_AGAIN = "download or make it again"
COMPRESSED = {  # how a compressed file starts -> the program that made it
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
TRUNCATED = f"it is truncated: {MAKE_AGAIN}"
RECORD = 20 * BLOCK  # what tar and Python's tarfile fill up with zeros behind the end mark
MAX_METADATA = 2**20  # bytes of a long name or a pax header
MAX_NAME = 4096  # characters; Linux has no longer paths
MAX_DIGITS = 20  # of a size
MOST_ZEROS = RECORD + BLOCK  # two empty blocks, the first of which may be the last of a record


def read_members(file: BinaryIO, size: int) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of each regular file in a tar of ``size`` bytes.

    Several archives one behind the other, as ``cat a.tar b.tar`` makes them, are read as one. Raise ValueError if it
    is not a tar, damaged or truncated, or if something else lies behind the end mark.

    The layout is POSIX.1-2001's (``pax``, "ustar Interchange Format"), with the long names of pax and of GNU tar.
    """
    at = first = 0  # the next header, and that of this archive
    metadata: dict[str, str] = {}
    while True:
        file.seek(at)
        header = file.read(BLOCK)
        if header == EMPTY_BLOCK:
            first = at = find_next_archive(file, first, at, size)
            if at == size:
                return
            continue
        if len(header) < BLOCK:
            raise ValueError(TRUNCATED)
        if not has_valid_checksum(header):
            raise ValueError(f"it is damaged after {at} bytes" if at else explain_other_format(header))
        kind, at = header[156:157], at + BLOCK
        length = (
            parse_number(header[124:136])
            if kind in METADATA_TYPES
            else parse_pax_size(metadata) or parse_number(header[124:136])
        )
        if not 0 <= length <= size - at:
            raise ValueError(TRUNCATED)
        if kind in (b"x", b"L") and length > MAX_METADATA:
            raise ValueError(f"it has a name or a pax header of {length:,} bytes: {MAKE_AGAIN}")
        if kind in (b"x", b"L"):
            content = file.read(length)
            metadata |= parse_pax_records(content) if kind == b"x" else {"path": parse_text(content)}
        elif kind not in METADATA_TYPES:
            if kind in REGULAR_FILE_TYPES:
                yield check_name(metadata.get("path") or parse_name(header)), at, length
            metadata = {}
        at += -(-length // BLOCK) * BLOCK


def explain_other_format(start: bytes) -> str:
    """Return why a file that starts with these bytes is not read as a tar."""
    packed = next((name for magic, name in COMPRESSED.items() if start.startswith(magic)), None)
    return f"it is compressed with {packed}: unpack it" if packed else f"it is not a tar: {MAKE_AGAIN}"


def find_next_archive(file: BinaryIO, first: int, end: int, size: int) -> int:
    """Return where the archive after the end mark at ``end`` begins, ``size`` if there is none.

    ``first`` is where the archive before the mark begins. Raise ValueError if the zeros are not an end mark, such as
    those of an unfinished download, or if the bytes after them are not an archive.
    """
    file.seek(end)
    rest = file.read(MOST_ZEROS + BLOCK)
    zeros = len(rest) - len(rest.lstrip(b"\0"))
    if zeros == size - end <= MOST_ZEROS:
        return size
    if zeros > MOST_ZEROS:
        raise ValueError(
            f"it has more than {MOST_ZEROS:,} zeros from byte {end} on, as an unfinished download or a damaged disk "
            f"leaves them: download it again. If it ends there: truncate -s {end + RECORD} FILE"
        )
    zeros -= zeros % BLOCK
    header, mark = rest[zeros : zeros + BLOCK], zeros == 2 * BLOCK or (end + zeros - first) % RECORD == 0
    if len(header) == BLOCK and zeros >= 2 * BLOCK and mark and has_valid_checksum(header):
        return end + zeros
    raise ValueError(
        f"it has an end mark at byte {end}, but {size - end - zeros} bytes after it are not a second archive: it is "
        "damaged, or something was appended. Download or make it again"
    )


def has_valid_checksum(header: bytes) -> bool:
    """Return whether a header's checksum is correct: the sum of its bytes, its own eight bytes counted as spaces."""
    try:
        return parse_number(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * ord(" ")
    except ValueError:
        return False


def parse_number(field: bytes) -> int:
    """Return a number in octal digits or, if the first bit is set (GNU tar, from 8 GiB), in big-endian bytes."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def parse_text(field: bytes) -> str:
    """Return the text of a field up to its first zero byte."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def parse_name(header: bytes) -> str:
    """Return the name in a header, with its prefix in POSIX's format."""
    prefix = parse_text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{parse_text(header[:100])}" if prefix else parse_text(header[:100])


def check_name(name: str) -> str:
    """Return the name of a file; raise ValueError if no disk could have it."""
    if len(name) > MAX_NAME:
        raise ValueError(f"it has a file with a name of {len(name):,} characters ({name[:20]}...): shorten it")
    return name


def parse_pax_size(metadata: dict[str, str]) -> int:
    """Return the size in a pax header, 0 if it has none."""
    text = metadata.get("size") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise ValueError(f"it is damaged: a file has the size {text[:MAX_DIGITS]!r}")
    return int(text)


def parse_pax_records(content: bytes) -> dict[str, str]:
    """Return the records of a pax header, each its own length in bytes, a space, KEY=VALUE and a line feed."""
    records, at, end = {}, 0, len(content.rstrip(b"\0"))
    while at < end:
        space = content.find(b" ", at, at + MAX_DIGITS)
        digits = content[at:space] if space > at else b""
        if not digits.isdigit() or not (length := int(digits)):
            raise ValueError("it is damaged: a pax record has no length")
        key, _, value = content[space + 1 : at + length].partition(b"=")
        records[parse_text(key)] = parse_text(value.removesuffix(b"\n"))
        at += length
    return records
