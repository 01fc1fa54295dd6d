"""Files and folders that a user names for a command to write: only what vitrun wrote there itself is replaced."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blake3 import blake3

from vitrun.errors import ExitCode, UserError, advise_writing
from vitrun.runtime.files import (
    hash_file,
    move_into_place,
    name_partial,
    parse_json,
    read_small_text,
    remove,
    write_text_atomic,
)
from vitrun.runtime.process import hold_folder

OUTPUTS_FILE = ".vitrun-outputs.json"  # in a folder: the record of each file and folder that vitrun wrote there
# Of a record: the hash, a text that identifies what it is of, and the hash of what is there until it is replaced
HASH_KEY, OF_KEY, BEFORE_KEY = "blake3", "of", "before"


def check_replaceable(path: Path, option: str) -> None:
    """Raise UserError about ``option`` if ``path`` exists, unless vitrun wrote all of it."""
    if not is_own(path) and os.path.lexists(path):
        why = (
            f"{path.name} already exists and is not what vitrun wrote there, so it is not replaced. Choose another "
            "path, or move it away."
        )
        raise UserError(why, option=option, value=str(path))


def write_output(path: Path, write: Callable[[Path], object], option: str, force: bool = False) -> bool:
    """Write a file or folder atomically, over what :func:`check_replaceable` allows; record that vitrun wrote it.

    Return whether that was needed: not if vitrun has written the same there. Raise UserError about ``option`` if it has
    written something else, unless ``force`` is set, or if something of the user has appeared there meanwhile.
    """
    partial = name_partial(path)
    try:
        write(partial)
        with hold_folder(path.parent):  # others may record what they wrote there
            check_replaceable(path, option)
            new, before = hash_output(partial), hash_output(path) if os.path.lexists(path) else ""
            if new == before:
                return False
            if before and not force:
                raise exists_error(path, option)
            add_record(path, {HASH_KEY: new, BEFORE_KEY: before})  # first: a killed process leaves nothing unrecorded
            replace_output(partial, path)
        return True
    finally:
        remove(partial)


def exists_error(path: Path, option: str, what: str = "with other content") -> UserError:
    """Return the UserError about something that vitrun wrote before."""
    why = f"{path.name} already exists, {what}. Choose another path, delete it, or replace it with force=true."
    return UserError(why, option=option, value=str(path))


def unwritable_error(path: Path, option: str, error: Exception) -> UserError:
    """Return the UserError (exit code 6) about an output that cannot be written, as on a full disk."""
    reason = getattr(error, "strerror", None) or error
    why = f"cannot write there: {reason}. {advise_writing(error)}, or choose another path."
    return UserError(why, ExitCode.SPACE, option, str(path))


def record_output(path: Path, of: str = "") -> None:
    """Record that vitrun wrote a file or folder as it is now, and what it is ``of``."""
    with hold_folder(path.parent):
        add_record(path, {HASH_KEY: hash_output(path), OF_KEY: of})


def add_record(path: Path, record: dict[str, str]) -> None:
    """Add the record of a file or folder; drop those of outputs that are gone."""
    records = read_records(path.parent)
    present = {name: known for name, known in records.items() if os.path.lexists(path.with_name(name))}
    write_text_atomic(path.with_name(OUTPUTS_FILE), json.dumps(present | {path.name: record}, indent=1))


def replace_output(partial: Path, path: Path) -> None:
    """Move a finished file or folder to ``path``; a folder that is there is moved away before, and deleted after."""
    if not path.is_dir():
        return move_into_place(partial, path)
    old = name_partial(path.with_name(f"old-{path.name}"))
    os.replace(path, old)
    try:
        move_into_place(partial, path)
    except BaseException:
        os.replace(old, path)
        raise
    remove(old)


def is_own(path: Path, of: str | None = None) -> bool:
    """Return whether a file, or a folder with all that is in it, is what vitrun wrote; with ``of`` also of that."""
    record = read_records(path.parent).get(path.name)
    if record is None or of not in (None, record.get(OF_KEY)):
        return False  # what has no record is not read, however large it is
    try:
        is_plain = not path.is_symlink() and (path.is_file() or path.is_dir())  # reading a device may never end
        return is_plain and hash_output(path) in (record[HASH_KEY], record.get(BEFORE_KEY))
    except OSError:
        return False


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each output in a folder that vitrun wrote; empty if it wrote none.

    Raise UserError if the file of that name is something else.
    """
    file = folder / OUTPUTS_FILE
    try:
        records = parse_json(read_small_text(file))
    except (OSError, ValueError):
        records = None
    if records is None and not os.path.lexists(file):
        return {}
    entries = list(records.values()) if isinstance(records, dict) else []
    if not entries or not all(isinstance(entry, dict) and isinstance(entry.get(HASH_KEY), str) for entry in entries):
        raise UserError(f"{file} is not the list of what vitrun wrote there, or damaged: move it away.")
    return dict(records)


def hash_output(path: Path) -> str:
    """Return the BLAKE3 hash of a file, or of the names and hashes of all that is in a folder."""
    if not path.is_dir():
        return hash_file(path)
    parts = [(str(part.relative_to(path)), hash_file(part) if part.is_file() else "") for part in path.rglob("*")]
    return blake3(json.dumps(sorted(parts)).encode(errors="surrogateescape")).hexdigest()
