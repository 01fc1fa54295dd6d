"""Files and folders that a user names for a command to write: only what vitrun wrote there itself is replaced."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blake3 import blake3

from vitrun.errors import UserError
from vitrun.runtime.files import (
    hash_file,
    move_into_place,
    name_partial,
    parse_json,
    read_small_text,
    remove,
    write_atomic,
    write_text_atomic,
)

OUTPUTS_FILE = ".vitrun-outputs.json"  # in a folder: the record of each file and folder that vitrun wrote there
HASH_KEY, OF_KEY = "blake3", "of"  # of a record: the hash, and a text that identifies what it is of


def check_replaceable(path: Path, option: str) -> None:
    """Raise UserError about ``option`` if ``path`` exists, unless vitrun wrote all of it."""
    if os.path.lexists(path) and not is_own(path):
        why = (
            f"{path.name} already exists and is not what vitrun wrote there, so it is not replaced. Choose another "
            "path, or move it away."
        )
        raise UserError(why, option=option, value=str(path))


def write_output(path: Path, write: Callable[[Path], object], option: str, force: bool = False) -> bool:
    """Write a file or folder atomically, over what :func:`check_replaceable` allows; record that vitrun wrote it.

    Return whether that was needed: not if vitrun has written the same there. Raise UserError about ``option`` if it has
    written something else, unless ``force`` is set.
    """
    exists = os.path.lexists(path)

    def write_other(partial: Path) -> None:
        write(partial)
        if exists and hash_output(partial) == hash_output(path):
            raise SameOutput
        if exists and not force:
            raise exists_error(path, option)

    try:
        if path.is_dir():
            write_over_folder(path, write_other)
        else:
            write_atomic(path, write_other)
    except SameOutput:
        return False
    record_output(path)
    return True


class SameOutput(Exception):
    """Raised where what is to be written is there already."""


def exists_error(path: Path, option: str, what: str = "with other content") -> UserError:
    """Return the UserError about something that vitrun wrote before."""
    why = f"{path.name} already exists, {what}. Choose another path, delete it, or replace it with force=true."
    return UserError(why, option=option, value=str(path))


def record_output(path: Path, of: str = "") -> None:
    """Record that vitrun wrote a file or folder as it is now, and what it is ``of``."""
    records = read_records(path.parent) | {path.name: {HASH_KEY: hash_output(path), OF_KEY: of}}
    present = {name: record for name, record in records.items() if os.path.lexists(path.with_name(name))}
    write_text_atomic(path.with_name(OUTPUTS_FILE), json.dumps(present, indent=1))


def write_over_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Write a folder, then move the old one away and delete it."""
    partial, old = name_partial(path), name_partial(path.with_name(f"old-{path.name}"))
    try:
        write(partial)
        os.replace(path, old)
        move_into_place(partial, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        remove(partial)
        raise
    remove(old)


def is_own(path: Path, of: str | None = None) -> bool:
    """Return whether a file, or a folder with all that is in it, is what vitrun wrote; with ``of`` also of that."""
    record = read_records(path.parent).get(path.name, {})
    try:
        is_plain = not path.is_symlink() and (path.is_file() or path.is_dir())  # reading a device may never end
        return is_plain and of in (None, record.get(OF_KEY)) and record.get(HASH_KEY) == hash_output(path)
    except OSError:
        return False


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each output in a folder that vitrun wrote; empty if it wrote none, or they are damaged."""
    try:
        records = parse_json(read_small_text(folder / OUTPUTS_FILE))
    except (OSError, ValueError):
        return {}
    items = records.items() if isinstance(records, dict) else ()
    return {str(name): record for name, record in items if isinstance(record, dict)}


def hash_output(path: Path) -> str:
    """Return the BLAKE3 hash of a file, or of the names and hashes of all that is in a folder."""
    if not path.is_dir():
        return hash_file(path)
    parts = [(str(part.relative_to(path)), hash_file(part) if part.is_file() else "") for part in path.rglob("*")]
    return blake3(json.dumps(sorted(parts)).encode(errors="surrogateescape")).hexdigest()
