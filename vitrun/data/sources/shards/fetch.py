"""One shard by HTTP: what is missing of it, checked against all that its server says of the whole file."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from vitrun.data.sources.shards.tar import BLOCK, EMPTY_BLOCK, has_valid_checksum, read_members
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import sha256_file

TIMEOUT_SECONDS = 60  # without receiving a byte
CHUNK_BYTES = 2**20
MOST_EMPTY = 2**20  # bytes of a tar without members, whose end is padded with zeros
SHA256 = re.compile(r"[0-9a-f]{64}")
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
LINKED_SIZE, LINKED_HASH = "X-Linked-Size", "X-Linked-ETag"  # of the Hub, before it redirects to its store


class NoShard(Exception):
    """What a server sends is something else than a shard."""


class LinkedHeaders(HTTPRedirectHandler):
    """Redirects, and what the Hub says of a file in its LFS before it redirects."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.sha256: str | None = None

    def redirect_request(self, *parts: Any) -> Any:
        """Return the request to the new address."""
        *_, headers, _ = parts
        self.read(headers)
        return super().redirect_request(*parts)

    def read(self, headers: HTTPMessage) -> None:
        """Take size and SHA-256 of the whole file from the headers of an answer, if they are there."""
        digest = (headers[LINKED_HASH] or "").strip('"').lower()
        self.sha256 = digest if SHA256.fullmatch(digest) else self.sha256
        self.size = parse_size(headers[LINKED_SIZE]) or self.size


@dataclass
class Answer:
    """The answer of a server to the request for what is missing of a file."""

    response: HTTPResponse
    start: int  # of its bytes in the file
    size: int | None  # of the whole file, if the server says that
    sha256: str | None


def parse_size(text: str | None) -> int | None:
    """Return a number of bytes in a header, None if there is none, or one that no file has."""
    digits = (text or "").strip()
    return int(digits) if digits.isdecimal() and len(digits) < 19 else None


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
        while chunk := answer.response.read1(CHUNK_BYTES):  # what has arrived, so that a slow server lets us stop
            tick()
            before = part.tell()
            part.write(chunk)
            if any(before < size <= part.tell() for size in (BLOCK, MOST_EMPTY)):
                check_start(part)
            if answer.size is not None and part.tell() > answer.size:
                break
    part.flush()
    check_whole(part, answer)


def request_missing(address: str, part: BinaryIO) -> Answer:
    """Return the answer to a request for what is missing; it starts at 0 if the file on the server has changed."""
    have = part.seek(0, os.SEEK_END)
    version = version_file(part)
    known = version.read_text(encoding="utf-8") if version.exists() else ""
    headers = {"Range": f"bytes={have}-"} if have else {}
    linked = LinkedHeaders()
    opener = build_opener(linked)
    try:
        wanted = Request(address, headers=headers | ({"If-Range": known} if have and known else {}))
        response = opener.open(wanted, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != 416:  # no such range: the file was complete already, or has changed
            raise
        response = opener.open(address, timeout=TIMEOUT_SECONDS)
    linked.read(response.headers)
    length = parse_size(response.headers["Content-Length"])
    if response.status != 206:
        if response.headers.get_content_type() == "text/html":
            raise NoShard("the server answers with a web page")
        return Answer(response, 0, linked.size or length, linked.sha256)
    sent = CONTENT_RANGE.fullmatch(response.headers["Content-Range"] or "")
    if sent and int(sent[1]) != have:
        clear(part)
        raise OSError("the server answers with other bytes than those asked for")
    size = parse_size(sent[2]) if sent else None if length is None else have + length
    return Answer(response, have, linked.size or size, linked.sha256)


def version_file(part: BinaryIO) -> Path:
    """Return the file that has the version of a partial file on its server: bytes of two versions are never joined."""
    return Path(f"{part.name}.version")


def remember_version(part: BinaryIO, response: HTTPResponse) -> None:
    """Write the version of the file on the server."""
    tags = [response.headers[name] or "" for name in ("ETag", "Last-Modified")]
    tag = next((tag for tag in tags if tag and tag[:2] != "W/"), "")
    version_file(part).write_text(tag, encoding="utf-8")


def clear(part: BinaryIO) -> None:
    """Remove all bytes of a partial file."""
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
    if is_endless or block != EMPTY_BLOCK and not has_valid_checksum(block):
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
    elif answer.sha256:
        if sha256_file(file) != answer.sha256:
            problem = "its bytes do not have the hash that the server announces"
    else:
        try:
            with open(file, "rb") as content:
                for _ in read_members(content, size):
                    pass
        except ValueError as error:
            problem = str(error)
    if problem:
        clear(part)
        raise OSError(problem)
