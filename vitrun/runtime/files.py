"""Files that appear whole or not at all."""

import hashlib
import itertools
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from errno import EDQUOT, EEXIST, EISDIR, ENOSPC, ENOTDIR, ENOTEMPTY
from pathlib import Path
from typing import Any

from blake3 import blake3

from vitrun.errors import ExitCode, UserError

RETRY_SECONDS = (0.2, 1.0, 3.0)  # before the second try to write, the third, and the last
LASTING_ERRORS = (ENOSPC, EDQUOT, EISDIR, ENOTDIR, EEXIST, ENOTEMPTY)  # which a second try meets too
MAX_BYTES = 2**30  # of an image file; a larger one is none, and would need too much memory
MAX_TEXT = 64 * 2**20  # bytes of a recipe, a result or a manifest; a larger file is none


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file or folder next to ``path``, then rename it: ``path`` appears whole or stays as it was.

    The content is on the disk before the new name is. Raises whatever ``write`` raises, and OSError if the disk is
    full; the partial file is then removed.
    """
    partial = name_partial(path)
    try:
        write(partial)
        move_into_place(partial, path)
    except BaseException:
        remove(partial)
        raise


def name_partial(path: Path) -> Path:
    """Return where to write what is to become ``path``: a hidden name beside it that nothing has."""
    first = f".tmp-{path.name}-{os.getpid()}"
    names = (first if number == 0 else f"{first}-{number}" for number in itertools.count())
    return next(free for name in names if not os.path.lexists(free := path.with_name(name)))


def remove_partials(folder: Path, names: str) -> None:
    """Remove what killed processes left of files whose names match a regular expression; nobody may be writing any."""
    pattern = re.compile(rf"\.tmp-({names})-\d+(-\d+)?")
    for path in folder.glob(".tmp-*"):
        if pattern.fullmatch(path.name):
            remove(path)


def retry(write: Callable[[], object]) -> None:
    """Call ``write``, and again after each of ``RETRY_SECONDS`` while it raises an OSError that may pass.

    A disk of a network may be away for a moment; a full one stays full.
    """
    for seconds in RETRY_SECONDS:
        try:
            write()
            return
        except OSError as error:
            if error.errno in LASTING_ERRORS:
                raise
            time.sleep(seconds)
    write()


def write_text_atomic(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8: the whole of it, or ``path`` stays as it was."""
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def create_folder_once(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Create a folder of JSON files unless it exists; if several processes try, one succeeds. It appears whole.

    No lock is needed: no disk renames a folder to the name of one that has files.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".tmp-{folder.name}-", dir=folder.parent))
    try:
        partial.chmod(folder.parent.stat().st_mode & 0o777)  # mkdtemp lets only its owner read it
        for name, content in files.items():
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        move_into_place(partial, folder)
    except OSError:
        if not all((folder / name).is_file() for name in files):
            raise
    finally:
        remove(partial)


def move_into_place(partial: Path, path: Path) -> None:
    """Rename a finished file or folder to ``path``, with its content on the disk before and its name after."""
    for file in (*partial.rglob("*"), partial):
        sync_to_disk(file)
    os.replace(partial, path)
    sync_to_disk(path.parent)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; do nothing if there is neither."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """Return the BLAKE3 hash of a file's bytes, in hex: four times as fast as SHA-256, on one core."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, blake3).hexdigest()  # type: ignore[arg-type]


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex, as those publish it who offer files for download."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_sha1(path: Path) -> str:
    """Return the SHA-1 of a file as a git blob, in hex."""
    code = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        hashlib.file_digest(file, lambda: code)
    return code.hexdigest()


def sync_to_disk(path: Path) -> None:
    """Flush a file or folder to the disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def walk_files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder; links to folders are not followed, folders that cannot be read are left out."""
    pending = [str(root)]
    while pending:  # not recursive, as os.walk and rglob are: folders may be nested more deeply than Python's calls
        try:
            with os.scandir(pending.pop()) as entries:
                listed = [*entries]
        except OSError:
            continue
        pending += [entry.path for entry in listed if entry.is_dir(follow_symlinks=False)]
        yield from (Path(entry.path) for entry in listed if not entry.is_dir(follow_symlinks=False))


def read_regular_file(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file; raise ValueError if it is another kind, or has more than ``most`` bytes.

    Reading a pipe would wait, and a device or a file of /proc may have no end: no more is read than the size says.
    """
    if (size := measure_regular_file(path)) > most:
        raise ValueError(f"it has {size / 1e6:,.0f} MB, more than the {most / 1e6:,.0f} that are read")
    with open(path, "rb") as file:
        return file.read(size)


def read_end(path: Path, most: int) -> bytes:
    """Return the last bytes of a regular file, at most that many; raise ValueError if it is another kind."""
    size = measure_regular_file(path)
    with open(path, "rb") as file:
        file.seek(max(0, size - most))
        return file.read(most)


def measure_regular_file(path: Path) -> int:
    """Return the size of a regular file in bytes; raise ValueError if it is another kind."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is a pipe or a device")
    return status.st_size


def read_small_text(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a regular file; raise ValueError if it is another kind, not UTF-8, or over ``MAX_TEXT``."""
    return read_regular_file(path, MAX_TEXT).decode(encoding)


def is_utf8(path: str | Path) -> bool:
    """Return whether a path can be written in UTF-8, as libraries need it that read or write files; Linux does not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_json(text: str | bytes, object_hook: Callable[[dict[str, Any]], object] | None = None) -> Any:
    """Return the value of a JSON text; raise ValueError if it is none, or nested too deeply."""
    try:
        return json.loads(text, object_hook=object_hook)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None if there is no such file; raise UserError if it is damaged."""
    try:
        content = parse_json(read_small_text(path)) if path.is_file() else None
    except ValueError:
        content = ()
    if not isinstance(content, dict | None):
        raise UserError(
            f"{path} is damaged: it is not a JSON object. Delete it, or the folder it belongs to.", ExitCode.CHECKPOINT
        )
    return content
