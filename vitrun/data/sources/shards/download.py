"""Download of files by URL, each once; an interrupted download is resumed."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from posixpath import basename, commonpath, normpath, relpath
from threading import Event
from urllib.error import HTTPError
from urllib.parse import urlsplit

from vitrun.data.sources.retry_after import read_retry_after
from vitrun.data.sources.shards.fetch import CHUNK_BYTES, NoShard, fetch_missing, version_file
from vitrun.errors import FULL, ExitCode, UserError
from vitrun.runtime.console import Screen, print_error, track_progress
from vitrun.runtime.files import move_into_place
from vitrun.runtime.process import lock_file
from vitrun.runtime.user_cache import user_cache_folder

PARALLEL_DOWNLOADS = 4
MAX_TRIES = 4
MAX_REASON = 100  # characters of what a server or the system says
RETRY_SECONDS = 1.0  # before the second try; doubled for each further one
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


def download_missing(addresses: Sequence[str], root: Path, screen: Screen, tick: Callable[[], None]) -> list[str]:
    """Download the files that are missing in ``root``; return the names of all."""
    names = local_names(addresses)
    missing = [(address, root / name) for address, name in zip(addresses, names) if not (root / name).exists()]
    if missing:
        screen.log(f"data: {len(missing)} of {len(names)} shards to download into {root}, {missing[0][0]} first")
        stopping = Event()
        threads = ThreadPoolExecutor(PARALLEL_DOWNLOADS, "download")
        try:
            done = threads.map(lambda file: download_file(file[0], file[1], tick, stopping, screen.warn), missing)
            for _ in track_progress(done, len(missing), "shards downloaded"):
                pass
        finally:  # an error or a signal does not wait for slow servers
            stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
    return names


def download_file(
    address: str,
    file: Path,
    tick: Callable[[], None],
    stopping: Event,
    warn: Callable[[str], None] = print_error,
) -> None:
    """Download ``address`` to ``file``, which appears when it is complete and checked.

    Try ``MAX_TRIES`` times without getting further, at the pace that the server asks for; raise UserError if all fail,
    CancelledError when it is ``stopping``.
    """

    def check() -> None:
        tick()
        if stopping.is_set():
            raise CancelledError

    failures, problem = 0, ""
    while failures < MAX_TRIES:
        before = partial_size(file)
        try:
            check()
            download_once(address, file, check)
            return
        except (OSError, HTTPException, NoShard, ValueError) as error:  # the last of an address to redirect to
            raise_if_full(error, file)
            problem, wait = describe_problem(error), read_retry_after(getattr(error, "headers", None) or {})
            if not may_succeed_later(error):
                break
        failures = 1 if partial_size(file) > before + CHUNK_BYTES else failures + 1
        if failures < MAX_TRIES:
            wait = max(wait, RETRY_SECONDS * 2 ** (failures - 1))
            warn(f"{address}: {problem}. Trying again in {wait:.0f} s.")
            stopping.wait(wait)
    raise UserError(
        f"{address} cannot be downloaded: {problem}. Check the URL; the same command resumes the download. If it needs "
        "an account, download it with the tool of its owner and set data.path=FOLDER.",
        ExitCode.DATA,
    )


def describe_problem(error: Exception) -> str:
    """Return what went wrong in a try to download a file, as a short text whatever the server sent."""
    text = str(getattr(error, "reason", error))  # of an error of the connection
    if isinstance(error, HTTPError):
        text = f"the server answers {error.code} {text}"
    words = " ".join(text.split()) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:MAX_REASON].rstrip(" .")


def may_succeed_later(error: Exception) -> bool:
    """Return whether a further try may succeed."""
    if isinstance(error, HTTPError):
        return error.code >= 500 or error.code in TRANSIENT_STATUS
    return not isinstance(error, NoShard | ValueError)


def raise_if_full(error: Exception, file: Path) -> None:
    """Raise UserError if it was the disk that had no room."""
    if isinstance(error, OSError) and error.errno in FULL:
        why = f"{file}: {error.strerror}. Make room, or choose another folder: data.path=FOLDER"
        raise UserError(why, ExitCode.SPACE) from None


def partial_file(file: Path) -> Path:
    """Return where the bytes of a file are collected until it is complete."""
    return file.with_name(f"{file.name}.part")


def partial_size(file: Path) -> int:
    """Return the number of bytes that are there of a file."""
    return partial_file(file).stat().st_size if partial_file(file).exists() else 0


def download_once(address: str, file: Path, tick: Callable[[], None]) -> None:
    """Continue a partial download, and move it into place once it is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(partial_file(file), "ab") as part:
        lock_file(part, wait=True)  # another process may want the same file
        try:
            if not file.exists():
                fetch_missing(address, part, tick)
                move_into_place(Path(part.name), file)
                version_file(part).unlink(missing_ok=True)
        finally:
            if partial_size(file) == 0:  # nothing that could be continued
                partial_file(file).unlink(missing_ok=True)
                version_file(part).unlink(missing_ok=True)
