"""One shard by HTTP: what is missing of it, checked against all that its server says of the whole file."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from vitrun.data.sources.shards.announced import Digest, LinkedHeaders, parse_size, read_digest, read_version
from vitrun.data.sources.shards.tar import BLOCK, EMPTY_BLOCK, has_valid_checksum, read_members
from vitrun.errors import FULL, ExitCode, UserError

TIMEOUT_SECONDS = 20  # without receiving a byte
CHUNK_BYTES = 2**20
MOST_EMPTY = 2**20  # bytes of a tar without members, whose end is padded with zeros
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class NoShard(Exception):
    """What a server sends is something else than a shard."""


@dataclass
class Answer:
    """The answer of a server to the request for what is missing of a file."""

    response: HTTPResponse
    start: int  # of its bytes in the file
    size: int | None  # of the whole file, if the server says that
    digest: Digest | None  # of the whole file, if the server says that


def fetch_missing(address: str, part: BinaryIO, tick: Callable[[], None]) -> None:
    """Append to ``part`` the bytes that it lacks, and check the whole.

    Raise OSError if a further try may succeed, NoShard if the server sends something else, UserError on a full disk.
    """
    answer = request_missing(address, part)
    with answer.response:
        if answer.start == 0:
            clear(part)
            remember_version(part, answer.response)
        check_room(part, answer)
        try:
            append(part, answer, tick)
        except OSError as error:
            if error.errno in FULL and answer.size is None:  # it may have no end
                clear(part)
            raise
    check_whole(part, answer)


def append(part: BinaryIO, answer: Answer, tick: Callable[[], None]) -> None:
    """Append the bytes of an answer, up to one more than the server announces; raise NoShard if they are not a tar."""
    while chunk := answer.response.read1(CHUNK_BYTES):  # what has arrived, so that a slow server lets us stop
        tick()
        before = part.tell()
        part.write(chunk)
        if any(before < size <= part.tell() for size in (BLOCK, MOST_EMPTY)):
            check_start(part)
        if answer.size is not None and part.tell() > answer.size:
            break
    part.flush()


def request_missing(address: str, part: BinaryIO) -> Answer:
    """Return the answer to a request for what is missing; it starts at 0 if the version on the server is not known.

    Raise OSError if the server sends other bytes, or those of another version.
    """
    have = part.seek(0, os.SEEK_END)
    version = version_file(part)
    known = version.read_text(encoding="utf-8", errors="replace") if version.exists() else ""
    headers = {"Range": f"bytes={have}-", "If-Range": known} if have and known else {}
    linked = LinkedHeaders()
    opener = build_opener(linked)
    try:
        response = opener.open(Request(address, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != 416:  # no such range: the file was complete already, or has changed
            raise
        response = opener.open(address, timeout=TIMEOUT_SECONDS)
    linked.read(response.headers)
    is_part, have = response.status == 206, have if headers else 0
    digest = linked.digest or read_digest(response.headers, not is_part)
    length = None if response.chunked else parse_size(response.headers["Content-Length"])
    if not is_part:
        if response.headers.get_content_type() == "text/html":
            raise NoShard("the server answers with a web page")
        return Answer(response, 0, linked.size or length, digest)
    sent = CONTENT_RANGE.fullmatch(response.headers["Content-Range"] or "")
    if sent and int(sent[1]) != have or headers and read_version(response.headers) not in ("", known):
        clear(part)
        raise OSError("the server answers with other bytes than those asked for")
    size = parse_size(sent[2]) if sent else None if length is None else have + length
    return Answer(response, have, linked.size or size, digest)


def version_file(part: BinaryIO) -> Path:
    """Return the file that has the version of a partial file on its server: bytes of two versions are never joined."""
    return Path(f"{part.name}.version")


def remember_version(part: BinaryIO, response: HTTPResponse) -> None:
    """Write the version of the file on the server."""
    version_file(part).write_text(read_version(response.headers), encoding="utf-8")


def clear(part: BinaryIO) -> None:
    """Remove all bytes of a partial file."""
    os.ftruncate(part.fileno(), 0)  # before what is in the buffer is flushed, for which a full disk has no room
    part.truncate(0)
    part.seek(0)


def check_room(part: BinaryIO, answer: Answer) -> None:
    """Raise UserError if the disk has no room for the rest of a file."""
    free = shutil.disk_usage(Path(part.name).parent).free
    if answer.size is not None and answer.size - answer.start > free:
        raise UserError(
            f"{part.name} needs {(answer.size - answer.start) / 1e6:,.1f} MB more, and its disk has "
            f"{free / 1e6:,.1f} MB. Make room, or choose another folder: data.path=FOLDER",
            ExitCode.SPACE,
        )


def check_start(part: BinaryIO) -> None:
    """Raise NoShard, with nothing left in ``part``, if it does not begin as a tar does."""
    part.flush()
    with open(part.name, "rb") as file:
        block = file.read(BLOCK)
    is_endless = block == EMPTY_BLOCK and part.tell() >= MOST_EMPTY
    if is_endless or block != EMPTY_BLOCK and not (len(block) == BLOCK and has_valid_checksum(block)):
        clear(part)
        raise NoShard(f"the server sends no tar (or a compressed one), but {block[:20]!r}...")


def check_whole(part: BinaryIO, answer: Answer) -> None:
    """Raise OSError if a file is not complete or not intact, with nothing left in ``part`` if its bytes are wrong."""
    size, file = os.path.getsize(part.name), Path(part.name)
    if answer.size is not None and size < answer.size:
        raise OSError(f"it ended after {size} of {answer.size} bytes")
    problem = ""
    if answer.size is not None and size > answer.size:
        problem = f"it has more than the {answer.size} bytes that the server announces"
    elif answer.digest:
        with open(file, "rb") as content:
            if hashlib.file_digest(content, answer.digest[0]).hexdigest() != answer.digest[1]:
                problem = "its bytes do not have the hash that the server announces"
    else:
        if size < BLOCK and size == answer.size:
            check_start(part)
        try:
            with open(file, "rb") as content:
                if not sum(1 for _ in read_members(content, size)):
                    problem = "it is a tar without files"
        except ValueError as error:
            problem = str(error)
    if problem:
        clear(part)
        raise OSError(problem)
