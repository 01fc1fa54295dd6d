"""What identifies a file, or the files in a folder, wherever it lies: names, sizes and bytes."""

import os
import stat
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from vitrun.recipes import RECIPE_FILE
from vitrun.runtime.file_kinds import IMAGE_SUFFIXES, JUNK_FILES, JUNK_FOLDERS, UNREAD_SUFFIXES
from vitrun.runtime.files import hash_file
from vitrun.runtime.fingerprints import cached_fingerprint

MAX_WHOLE = 4 * 2**30  # bytes of the files in a folder up to which every byte counts
MAX_SAMPLE = 1000  # files of a larger folder of which bytes count; of every file its name and size do
END_BYTES = 65536  # of such a file, at its beginning and at its end
CHUNK = 1000  # files that wait to be hashed side by side
File = tuple[str, os.stat_result]  # path below a folder, and what the disk says of it


class Content(NamedTuple):
    """What identifies a file, or the files in a folder."""

    fingerprint: str = ""  # 16 hex digits of names, sizes and bytes; empty if there are no files
    state: str = ""  # 64 hex digits that change whenever a file is written, replaced or copied, even by an equal one
    is_whole: bool = True  # whether every byte counts in the fingerprint


def examine(path: str | Path, leaves_out: bool) -> Content:
    """Return what lies at a path.

    Args:
        leaves_out: Whether files of a folder that no source of vitrun reads do not count, if there are others.
    """
    return examine_real_path(os.path.realpath(os.path.expanduser(path)), leaves_out)


@cache
def examine_real_path(path: str, leaves_out: bool) -> Content:
    """Return :func:`examine` of a path without links."""
    if os.path.isfile(path):
        return Content(hash_file(Path(path))[:16])
    if path == os.path.dirname(path):  # the whole file system, which is an error once it is opened
        return Content()
    content = examine_folder(path, UNREAD_SUFFIXES) if leaves_out else Content()
    return content if content.fingerprint else examine_folder(path)


@dataclass(frozen=True)
class OtherSuffixes(Container[str]):
    """All suffixes but those of images, and some others."""

    others: frozenset[str]

    def __contains__(self, suffix: object) -> bool:
        return suffix not in IMAGE_SUFFIXES and suffix not in self.others


def examine_images(folder: str, others: Iterable[str] = ()) -> Content:
    """Return what identifies the images below a folder, and files of ``others``, by their suffixes."""
    return examine_folder(os.path.realpath(folder), OtherSuffixes(frozenset(others)))


def examine_folder(folder: str, left_out: Container[str] = frozenset()) -> Content:
    """Return what identifies the files below a folder, but for those with a suffix that is ``left_out``.

    The name and the size of every file count; so does every byte of up to ``MAX_WHOLE`` in all, else those at both ends
    of an even sample of files. Files are read again only if one of them has another size, time (mtime, ctime) or inode.
    """
    survey = survey_folder(folder, left_out)
    if not survey.count:
        return Content()
    is_whole = survey.bytes <= MAX_WHOLE

    def fingerprint() -> str:
        files = (name for name, _ in walk_folder(folder, left_out)) if is_whole else survey.sample
        for digest in hash_files((f"{folder}/{name}" for name in files), None if is_whole else END_BYTES):
            survey.names.update(digest)
        return survey.names.hexdigest()[:16]

    state = survey.state.hexdigest()
    return Content(cached_fingerprint(state, survey.changed, fingerprint), state, is_whole)


@dataclass
class FolderSurvey:
    """Facts about the files of a folder, without their bytes."""

    names: blake3 = field(default_factory=blake3)  # of names and sizes
    state: blake3 = field(default_factory=blake3)  # of names, sizes, times and inodes
    count: int = 0
    bytes: int = 0
    changed: float = 0.0  # when one of them changed last, in seconds since 1970
    sample: list[str] = field(default_factory=list)  # up to MAX_SAMPLE of the files, evenly drawn
    stride: int = 1

    def add(self, file: File) -> None:
        """Add a file."""
        name, status = file
        place, size = os.fsencode(name), 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        self.names.update(b"%b\0%d\0" % (place, size))
        times = (status.st_mtime_ns, status.st_ctime_ns)
        self.state.update(b"%b\0%d %d %d %d\0" % (place, size, *times, status.st_ino))
        if self.count % self.stride == 0:
            self.sample.append(name)
        if len(self.sample) > MAX_SAMPLE:
            self.sample, self.stride = self.sample[::2], self.stride * 2
        self.count, self.bytes = self.count + 1, self.bytes + size
        self.changed = max(self.changed, status.st_mtime, status.st_ctime)


def survey_folder(folder: str, left_out: Container[str] = frozenset()) -> FolderSurvey:
    """Return facts about the files of a folder."""
    survey = FolderSurvey()
    for file in walk_folder(folder, left_out):
        survey.add(file)
    return survey


def walk_folder(folder: str, left_out: Container[str]) -> Iterator[File]:
    """Yield the files below ``folder``, folder by folder, sorted by name.

    Hidden files, what systems leave behind, folders of runs and links to a folder above are left out; so are folders
    that cannot be read and links that lead nowhere, which are errors when the images are opened. A folder to which
    several links lead is read once, and yielded as ``LINK = FIRST`` where it comes again.
    """
    seen: dict[tuple[int, int], str] = {}
    parents = tuple(map(identify, map(os.stat, Path(folder).parents)))
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", parents)]  # each ``cat/`` with the folders above it
    while pending:  # not recursive: folders may be nested more deeply than Python's calls
        inside, above = pending.pop()
        try:
            here = os.stat(f"{folder}/{inside}")
            with os.scandir(f"{folder}/{inside}") as entries:
                files = [(entry.name, status) for entry in entries if (status := examine_entry(entry, left_out))]
        except OSError:
            continue
        identity = identify(here)
        is_run = inside and any(name == RECIPE_FILE for name, _ in files)
        if is_run or identity in above:
            continue
        if identity in seen:
            yield f"{inside} = {seen[identity]}", here
            continue
        seen[identity] = inside
        files = sorted((file for file in files if file[0] != RECIPE_FILE), key=lambda file: file[0])
        yield from ((f"{inside}{name}", status) for name, status in files if not stat.S_ISDIR(status.st_mode))
        folders = [f"{inside}{name}/" for name, status in files if stat.S_ISDIR(status.st_mode)]
        pending += [(path, (*above, identity)) for path in reversed(folders)]


def identify(status: os.stat_result) -> tuple[int, int]:
    """Return two numbers that are equal for all paths to a folder."""
    return status.st_dev, status.st_ino


def examine_entry(entry: os.DirEntry[str], left_out: Container[str]) -> os.stat_result | None:
    """Return what the disk says of a file or folder; None if it is left out."""
    name = entry.name.casefold()
    if name.startswith(".") or name in JUNK_FILES:
        return None
    try:
        status = entry.stat()
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return None if name in JUNK_FOLDERS else status
    return None if os.path.splitext(name)[1] in left_out and name != RECIPE_FILE else status


def hash_files(paths: Iterable[str], ends: int | None) -> Iterator[bytes]:
    """Yield the BLAKE3 hash of each file, or of up to ``ends`` bytes at its beginning and as many at its end."""
    paths = iter(paths)
    pool = ThreadPoolExecutor(os.cpu_count(), "hash")
    try:
        for first in paths:
            yield from pool.map(partial(hash_bytes, ends=ends), [first, *islice(paths, CHUNK)])
    finally:
        pool.shutdown(cancel_futures=True)


def hash_bytes(path: str, ends: int | None) -> bytes:
    """Return the BLAKE3 hash of a file, or of its ends; nothing if it cannot be read, as opening it will report."""
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return b""
        if ends is None:
            return bytes.fromhex(hash_file(Path(path)))
        with open(path, "rb") as file:
            first = file.read(ends)
            file.seek(max(ends, os.fstat(file.fileno()).st_size - ends))
            return blake3(first + file.read(ends)).digest()
    except OSError:
        return b""
