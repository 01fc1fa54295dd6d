"""The images below a folder, and what is left out there: hidden files, thumbnails, links in cycles, other files."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vitrun.data.decode import FORMATS
from vitrun.data.sources.messages import shorten, single_line
from vitrun.data.sources.shards.index import INDEX_FOLDER
from vitrun.runtime.file_kinds import IMAGE_SUFFIXES, JUNK_FILES, JUNK_FOLDERS, OTHER_SUFFIXES

UNREADABLE_SUFFIXES = {
    *(".heic", ".heif", ".jxl"),
    *(() if "AVIF" in FORMATS else (".avif", ".avifs")),
    *(() if "JPEG2000" in FORMATS else (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc")),
}
READABLE_SUFFIXES = IMAGE_SUFFIXES - UNREADABLE_SUFFIXES
MAGIC = re.compile(  # the first bytes of images
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|P[1-6]\s+(#|\d)|II[*+]\0|MM\0[*+]"
    rb"|....ftyp(avif|avis|heic|heix|heif|hevc|mif1|msf1)|\0\0\0\x0cjP  |\xff\x4f\xff\x51|\0\0\0\x0cJXL |\xff\x0a",
    re.DOTALL,
)
HIDDEN = "hidden"
JUNK = "thumbnails and system files"
OTHER = "files that are not images"
LOOSE = "images outside of class folders"
BROKEN = "links that lead nowhere"
LOOP = "links to a folder above"
AGAIN = "further links to a folder"
SPECIAL = "pipes and devices"
RUNS = "folders of runs"


@dataclass
class LeftOut:
    """How many files and folders were left out, with an example, by the reason."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Count a file or a folder."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, path)

    def describe(self) -> str:
        """Return ``hidden 3 (cat/.DS_Store ...), links to a folder above 1 (dog/up)``, or an empty string."""
        return ", ".join(
            f"{reason} {number:,} ({shorten(single_line(self.examples[reason]))}{' ...' if number > 1 else ''})"
            for reason, number in self.counts.items()
        )


@dataclass
class Scan:
    """A search for images below ``root``; paths are relative to it."""

    root: Path
    left_out: LeftOut = field(default_factory=LeftOut)

    def __post_init__(self) -> None:
        real = self.root.resolve()
        self.above = [folder_identity(path) for path in (real, *real.parents)]

    def list_folders(self) -> list[str]:
        """Return the names of the folders in ``root``, sorted, without those to leave out."""
        folders = []
        for entry in sorted_entries(self.root):
            reason = reason_to_leave_out(entry)
            if reason:
                self.left_out.add(reason, entry.name)
            elif is_folder(entry):
                if folder_identity(Path(entry.path)) in self.above:
                    self.left_out.add(LOOP, entry.name)
                else:
                    folders.append(entry.name)
            else:
                self.left_out.add(LOOSE, entry.name)
        return folders

    def walk(self, inside: str) -> Iterator[tuple[str, int]]:
        """Yield path and size of every image below the folder ``inside``, in order; -1 is the size of a broken link.

        A folder to which several links lead is read once: their combinations may be more than any number of images.
        """
        seen: set[tuple[int, int]] = set()
        pending: list[tuple[str, os.DirEntry[str] | None, tuple[object, ...]]] = [(inside, None, ())]
        while pending:  # not recursive: folders may be nested more deeply than Python's calls
            path, entry, above = pending.pop()
            if entry and (reason := reason_to_leave_out(entry)):
                self.left_out.add(reason, path)
            elif entry and not is_folder(entry):
                yield path, file_size(entry)
            elif (identity := folder_identity(self.root / path)) in above or identity in self.above:
                self.left_out.add(LOOP, path)
            elif identity in seen:
                self.left_out.add(AGAIN, path)
            else:
                seen.add(identity)
                above = (*above, identity)
                entries = sorted_entries(self.root / path)
                pending += [(f"{path}/{entry.name}", entry, above) for entry in reversed(entries)]

    def has_images(self, inside: str) -> bool:
        """Return whether there is an image below a folder."""
        return any(True for _ in Scan(self.root).walk(inside))

    def has_class_folders(self, inside: str) -> bool:
        """Return whether a folder has folders with images."""
        scan = Scan(self.root / inside)
        return any(scan.has_images(name) for name in scan.list_folders())


def sorted_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder has but an index of shards, sorted by name; scandir is fast for millions."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if entry.name != INDEX_FOLDER), key=lambda entry: entry.name)


def folder_identity(folder: Path) -> tuple[int, int]:
    """Return two numbers that are equal for all paths to a folder."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def reason_to_leave_out(entry: os.DirEntry[str]) -> str | None:
    """Return why a file or folder is left out; None for images and for folders that may have some."""
    name = entry.name.casefold()
    if name.startswith("."):
        return HIDDEN
    if is_folder(entry):
        return JUNK if name in JUNK_FOLDERS else None
    if name in JUNK_FILES:
        return JUNK
    suffix = os.path.splitext(name)[1]
    if entry.is_symlink() and not os.path.exists(entry.path):
        return None if suffix in IMAGE_SUFFIXES else BROKEN
    if not os.path.isfile(entry.path) if entry.is_symlink() else not entry.is_file():
        return SPECIAL  # a pipe would be waited for
    if suffix in IMAGE_SUFFIXES or suffix not in OTHER_SUFFIXES and starts_like_image(entry.path):
        return None
    return OTHER


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def starts_like_image(path: str) -> bool:
    """Return whether the first bytes of a regular file are those of an image."""
    try:
        with open(path, "rb") as file:
            return MAGIC.match(file.read(32)) is not None
    except OSError:
        return False


def file_size(entry: os.DirEntry[str]) -> int:
    """Return the size of a file; -1 for a broken link, which is an error when the image is read."""
    try:
        return entry.stat().st_size
    except OSError:
        return -1
