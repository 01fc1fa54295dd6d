"""Paths that a user names: files, folders, and patterns as ``photos/*.jpg``."""

import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from vitrun.errors import ExitCode, UserError

STANDARD_INPUT = "-"  # as a path: names are read from there


def resolve_pattern(option: str, pattern: str) -> str:
    """Return a path or a pattern as an absolute one; raise a UserError about ``option`` if nothing is there."""
    absolute = os.path.abspath(os.path.expanduser(pattern))
    if not pattern or not expand_pattern(absolute):
        raise UserError(f"{explain_missing(pattern, absolute)}.", ExitCode.DATA, option, pattern)
    return absolute


def explain_missing(pattern: str, absolute: str) -> str:
    """Return why a pattern names no file or folder."""
    if "://" in pattern:
        return "is an address: download it, and name the file"
    if os.path.lexists(absolute):
        return "is neither a file nor a folder"
    return "no file matches it" if glob.has_magic(pattern) else f"there is no file or folder {absolute}"


def expand_pattern(pattern: str) -> list[Path]:
    """Return the path itself if it exists, whatever its characters, else the paths that match a pattern, sorted.

    ``**`` is any number of folders. A pipe or a device is not a file: reading it may never end.
    """
    paths = [pattern] if os.path.lexists(pattern) else find_matches(pattern)
    return [Path(path) for path in paths if not os.path.exists(path) or os.path.isfile(path) or os.path.isdir(path)]


def find_matches(pattern: str) -> list[str]:
    """Return the paths that match a pattern, sorted; ``**`` is any number of folders, each of which counts once.

    Python's own glob follows links in every combination, which in folders that link to one another does not end.
    """
    parts = pattern.split("/")
    if "**" not in parts:
        return sorted(glob.glob(pattern))
    place = parts.index("**")
    before, after = "".join(f"{part}/" for part in parts[:place]), "/".join(parts[place + 1 :]) or "*"
    folders = (folder for start in (glob.glob(before) if before else [""]) for folder in walk_folders(start))
    return sorted({match for folder in folders for match in find_matches(glob.escape(folder) + after)})


def walk_folders(start: str) -> Iterator[str]:
    """Yield a folder and those below it that are not hidden, each once, as ``PATH/``; an empty text is here."""
    seen, waiting = set(), [start]
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(here or ".")
            names = sorted(os.listdir(here or "."), reverse=True)
        except OSError:
            continue
        if (identity := (status.st_dev, status.st_ino)) not in seen:
            seen.add(identity)
            yield here
            waiting += [f"{here}{name}/" for name in names if name[0] != "." and os.path.isdir(f"{here}{name}")]


def read_names() -> list[str]:
    """Return the names on standard input: separated by NUL, as ``find -print0`` writes them, or one per line."""
    content = sys.stdin.buffer.read() if sys.stdin else b""  # None if it was closed before the process started
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(name) for name in names if name]
