"""Files from the net, each downloaded once: what a broken connection left is gone on with."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from posixpath import basename, commonpath, normpath, relpath
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from vitrun.data.sources.shards.index import user_cache_folder
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import track_progress
from vitrun.runtime.files import move_into_place

PARALLEL_DOWNLOADS = 4  # files
MAX_TRIES = 4
RETRY_SECONDS = 1.0  # seconds before the second try; each further one waits twice as long
TIMEOUT_SECONDS = 60  # seconds without a byte
CHUNK_BYTES = 2**20
TRANSIENT_STATUS = (408, 429)  # of the HTTP status that blame the request, those that a later try may not meet


def download_folder(address: str) -> Path:
    """Where the files of one address are kept, where the user names no folder."""
    return user_cache_folder() / "shards" / hashlib.sha256(address.rpartition("/")[0].encode()).hexdigest()[:16]


def local_names(addresses: Sequence[str]) -> list[str]:
    """What the files at some addresses are called where they are kept: as there, with folders where names repeat."""
    paths = [normpath(urlsplit(address).path) for address in addresses]
    short = [basename(path) for path in paths]
    if len(set(short)) == len(short):
        return short
    if len(set(paths)) < len(paths):
        again = next(path for number, path in enumerate(paths) if path in paths[:number])
        raise UserError(f"{again} is named twice among the shards' addresses: give each one once.", ExitCode.DATA)
    return [relpath(path, commonpath(paths)) for path in paths]


def download_missing(addresses: Sequence[str], root: Path, tick: Callable[[], None]) -> list[str]:
    """The names in ``root`` of the files at ``addresses``, those that are not there yet downloaded."""
    found = local_names(addresses)
    missing = [(address, root / name) for address, name in zip(addresses, found) if not (root / name).exists()]
    if missing:
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS, "download") as threads:
            try:
                for _ in track_progress(
                    threads.map(lambda one: download_file(*one, tick), missing), len(missing), "shards downloaded"
                ):
                    pass
            finally:
                threads.shutdown(cancel_futures=True)
    return found


def download_file(address: str, file: Path, tick: Callable[[], None]) -> None:
    """Download ``address`` to ``file``, which appears when it is whole; a UserError where that cannot be."""
    for attempt in range(MAX_TRIES):
        time.sleep(RETRY_SECONDS * 2 ** (attempt - 1) if attempt else 0)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file.with_name(f"{file.name}.part"), "ab") as part:
                fcntl.flock(part, fcntl.LOCK_EX)  # another process may want the same file
                if not file.exists():
                    resume_download(address, part, tick)
                    part.flush()
                    move_into_place(Path(part.name), file)
                    Path(f"{part.name}.version").unlink(missing_ok=True)
            return
        except HTTPError as error:
            problem = f"the server says {error.code} {error.reason}"
            if error.code < 500 and error.code not in TRANSIENT_STATUS:
                break
        except (OSError, HTTPException) as error:
            problem = str(error) or type(error).__name__
    raise UserError(
        f"{address} cannot be downloaded: {problem}. Look at the address, and run again to go on. What needs an "
        "account download by its owner's tool, and give data.path=FOLDER.",
        ExitCode.DATA,
    )


def resume_download(address: str, part: BinaryIO, tick: Callable[[], None]) -> None:
    """Add to ``part`` what it lacks of ``address``; an OSError where the connection ends before that."""
    have = part.seek(0, os.SEEK_END)
    version = Path(f"{part.name}.version")  # of the file that the bytes are from: those of another are not joined
    known = version.read_text(encoding="utf-8") if version.exists() else ""
    headers = {"Range": f"bytes={have}-"} if have else {}
    wanted = Request(address, headers=headers | ({"If-Range": known} if have and known else {}))
    try:
        answer = urlopen(wanted, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != 416:  # the range is not there: the file was whole, or is another now
            raise
        answer = urlopen(address, timeout=TIMEOUT_SECONDS)
    with answer:
        if answer.status != 206:
            part.truncate(0)
            have = 0
            tags = [answer.headers[name] or "" for name in ("ETag", "Last-Modified")]
            version.write_text(next((tag for tag in tags if tag and tag[:2] != "W/"), ""), encoding="utf-8")
        length = answer.headers.get("Content-Length")
        while piece := answer.read(CHUNK_BYTES):
            tick()
            part.write(piece)
    part.flush()
    found = os.path.getsize(part.name)
    if length is not None and found != have + int(length):
        raise OSError(f"it ended after {found} of {have + int(length)} bytes")
