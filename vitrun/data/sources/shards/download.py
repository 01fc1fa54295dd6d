"""Download of files by URL, each once; an interrupted download is resumed."""

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

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import track_progress
from vitrun.runtime.files import move_into_place, user_cache_folder
from vitrun.runtime.process import lock_file

PARALLEL_DOWNLOADS = 4
MAX_TRIES = 4
RETRY_SECONDS = 1.0  # before the second try; doubled for each further one
TIMEOUT_SECONDS = 60  # without receiving a byte
CHUNK_BYTES = 2**20
TRANSIENT_STATUS = (408, 429)  # client errors after which a retry may succeed


def download_folder(address: str) -> Path:
    """Return the default folder for the files of a URL, in the user's cache."""
    return user_cache_folder() / "shards" / hashlib.sha256(address.rpartition("/")[0].encode()).hexdigest()[:16]


def local_names(addresses: Sequence[str]) -> list[str]:
    """Return the local name of each URL: its last part, with folders if names repeat, with the host if paths repeat.

    Raise UserError if a URL is repeated.
    """
    urls = [urlsplit(address) for address in addresses]
    names = [basename(url.path) for url in urls]
    if len(set(names)) == len(names):
        return names
    paths = [normpath(url.path) for url in urls]
    if len(set(paths)) < len(paths):
        paths = [normpath(f"/{url.netloc}{url.path}") for url in urls]
    if len(set(paths)) < len(paths):
        repeated = next(address for number, address in enumerate(addresses) if paths[number] in paths[:number])
        raise UserError(f"{repeated} is listed twice among the URLs of shards: list each one once.", ExitCode.DATA)
    return [relpath(path, commonpath(paths)) for path in paths]


def download_missing(addresses: Sequence[str], root: Path, tick: Callable[[], None]) -> list[str]:
    """Download the files that are missing in ``root``; return the names of all."""
    names = local_names(addresses)
    missing = [(address, root / name) for address, name in zip(addresses, names) if not (root / name).exists()]
    if missing:
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS, "download") as threads:
            try:
                for _ in track_progress(
                    threads.map(lambda file: download_file(file[0], file[1], tick), missing),
                    len(missing),
                    "shards downloaded",
                ):
                    pass
            finally:
                threads.shutdown(cancel_futures=True)
    return names


def download_file(address: str, file: Path, tick: Callable[[], None]) -> None:
    """Download ``address`` to ``file``, which appears when it is complete; raise UserError if all tries fail."""
    for attempt in range(MAX_TRIES):
        time.sleep(RETRY_SECONDS * 2 ** (attempt - 1) if attempt else 0)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file.with_name(f"{file.name}.part"), "ab") as part:
                lock_file(part, wait=True)  # another process may want the same file
                if not file.exists():
                    resume_download(address, part, tick)
                    part.flush()
                    move_into_place(Path(part.name), file)
                    Path(f"{part.name}.version").unlink(missing_ok=True)
            return
        except HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code not in TRANSIENT_STATUS:
                break
        except (OSError, HTTPException) as error:
            problem = str(error) or type(error).__name__
    raise UserError(
        f"{address} cannot be downloaded: {problem}. Check the URL; the same command resumes the download. If it needs "
        "an account, download it with the tool of its owner and set data.path=FOLDER.",
        ExitCode.DATA,
    )


def resume_download(address: str, part: BinaryIO, tick: Callable[[], None]) -> None:
    """Append to ``part`` the bytes that it lacks; raise OSError if the connection ends before that."""
    have = part.seek(0, os.SEEK_END)
    version = Path(f"{part.name}.version")  # of the file on the server: bytes of two versions are never joined
    known = version.read_text(encoding="utf-8") if version.exists() else ""
    headers = {"Range": f"bytes={have}-"} if have else {}
    wanted = Request(address, headers=headers | ({"If-Range": known} if have and known else {}))
    try:
        answer = urlopen(wanted, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != 416:  # no such range: the file was complete already, or has changed
            raise
        answer = urlopen(address, timeout=TIMEOUT_SECONDS)
    with answer:
        if answer.status != 206:
            part.truncate(0)
            have = 0
            tags = [answer.headers[name] or "" for name in ("ETag", "Last-Modified")]
            version.write_text(next((tag for tag in tags if tag and tag[:2] != "W/"), ""), encoding="utf-8")
        length = answer.headers.get("Content-Length")
        while chunk := answer.read(CHUNK_BYTES):
            tick()
            part.write(chunk)
    part.flush()
    size = os.path.getsize(part.name)
    if length is not None and size != have + int(length):
        raise OSError(f"it ended after {size} of {have + int(length)} bytes")
