"""Files that appear whole or not at all."""

import hashlib
import json
import os
from pathlib import Path

from vitrun.errors import ExitCode, UserError


def write_atomic(path: Path, text: str) -> None:
    """Put ``text`` at ``path``: the whole of it, or what was there before."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_to_disk(path: Path) -> None:
    """Make the system write a file's, or a folder's, content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict | None:
    """The content of a JSON file, or None where there is no such file; a UserError where it is no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:
        found = ()
    if not isinstance(found, dict | None):
        raise UserError(
            f"{path} is damaged: it holds no JSON object. Delete it, or what it belongs to.", ExitCode.CHECKPOINT
        )
    return found
