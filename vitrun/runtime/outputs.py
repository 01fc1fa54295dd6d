"""Files and folders that a user names for a command to write: only what vitrun wrote there itself is replaced."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from vitrun.errors import UserError
from vitrun.runtime.files import (
    move_into_place,
    name_partial,
    parse_json,
    read_small_text,
    remove,
    sha256_file,
    write_atomic,
    write_text_atomic,
)

OUTPUTS_FILE = ".vitrun-outputs.json"  # in a folder: the hash of each file and folder that vitrun wrote there


def check_replaceable(path: Path, option: str, force: bool) -> None:
    """Raise UserError about ``option`` if ``path`` exists, unless vitrun wrote all of it and ``force`` is set."""
    if not os.path.lexists(path):
        return
    if not is_own(path):
        way = "and is not what vitrun wrote there, so it is not replaced. Choose another path, or move it away"
    elif not force:
        way = "Choose another path, delete it, or replace it with force=true"
    else:
        return
    joint = " " if way.startswith("and") else ". "
    raise UserError(f"{path.name} already exists{joint}{way}.", option=option, value=str(path))


def write_output(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file or folder atomically, over what :func:`check_replaceable` allows; record that vitrun wrote it."""
    if path.is_dir():
        write_over_folder(path, write)
    else:
        write_atomic(path, write)
    record_output(path)


def record_output(path: Path) -> None:
    """Record that vitrun wrote a file or folder as it is now."""
    hashes = read_hashes(path.parent) | {path.name: hash_output(path)}
    present = {name: code for name, code in hashes.items() if os.path.lexists(path.with_name(name))}
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


def is_own(path: Path) -> bool:
    """Return whether a file, or a folder with all that is in it, is what vitrun wrote."""
    try:
        is_plain = not path.is_symlink() and (path.is_file() or path.is_dir())  # reading a device may never end
        return is_plain and read_hashes(path.parent).get(path.name) == hash_output(path)
    except OSError:
        return False


def read_hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each output in a folder that vitrun wrote; empty if it wrote none, or the list is damaged."""
    try:
        hashes = parse_json(read_small_text(folder / OUTPUTS_FILE))
    except (OSError, ValueError):
        return {}
    return {str(name): str(code) for name, code in hashes.items()} if isinstance(hashes, dict) else {}


def hash_output(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of all that is in a folder."""
    if not path.is_dir():
        return sha256_file(path)
    parts = [(str(part.relative_to(path)), sha256_file(part) if part.is_file() else "") for part in path.rglob("*")]
    return hashlib.sha256(json.dumps(sorted(parts)).encode(errors="surrogateescape")).hexdigest()
