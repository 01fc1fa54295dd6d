"""Original data sets: where each is published, its files, and the content of one of its splits."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Flag, auto
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypedDict

import numpy as np

from vitrun.data.sources.messages import abbreviate, first_line, shorten, single_line
from vitrun.data.sources.scan import file_size
from vitrun.data.sources.vtab.originals.mat_file import read_mat_arrays
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import read_regular_file, read_small_text

MAX_IMAGES = 2**20  # of a split; dSprites, the largest, has 737,280
MAX_WHY = 160  # characters of a reason in a message


class Status(Flag):
    """Differences between a split that was read and the published one."""

    AS_PUBLISHED = 0
    UNKNOWN_PARTITION = auto()  # no file lists which images are in the split
    NAMES_LOST = auto()  # a copy without the names of its images, which are their keys
    DIFFERENT_SPLIT = auto()  # another number of images than the published split


@dataclass(frozen=True)
class OriginalSplit:
    """N images of one split. Raise a UserError if there are none, or if a label is not one of the classes."""

    keys: Sequence[str]  # [N] as tensorflow_datasets hashes them
    labels: dict[str, np.ndarray]  # label name -> [N] int64, as VTAB counts them
    classes: dict[str, tuple[str, ...]]  # label name -> the names of all classes, also of absent ones
    image: Callable[[int], bytes | np.ndarray]  # the file's bytes, or uint8 [h, w] or [h, w, 3]
    location: str  # the files it was read from
    status: Status = Status.AS_PUBLISHED
    sizes: np.ndarray | None = None  # [N] bytes of each image's file, if each has one

    def __post_init__(self) -> None:
        if not self.keys:
            raise UserError(f"{self.location}: there are no images. Fetch it again.", ExitCode.DATA)
        for name, labels in self.labels.items():
            outside = (labels < 0) | (labels >= len(self.classes[name]))
            if outside.any():
                first = int(outside.argmax())
                raise UserError(
                    f"{self.location}: {self.keys[first]} has the {name} {labels[first]}, not one of the classes "
                    f"0 to {len(self.classes[name]) - 1}. Fetch it again.",
                    ExitCode.DATA,
                )


class ImageFiles(TypedDict):
    """The fields of an OriginalSplit whose images are files."""

    image: Callable[[int], bytes]
    sizes: np.ndarray


@dataclass(frozen=True)
class Archive:
    """One original: the files of a complete folder, and where they are published."""

    name: str
    layout: str  # the files of a complete folder
    page: str
    archives: tuple[str, ...] = ()  # folders that unpacking its archives makes, in which the files may be
    account: str = "no account is needed"
    details: str = ""  # of the layout, which errors leave out

    @property
    def home(self) -> str:
        """Return the page, and whether it needs an account."""
        return f"{self.page} ({self.account})"

    def find(self, root: Path, *patterns: str) -> Path:
        """Return the first file or folder that matches one of ``patterns``. Raise a UserError if there is none."""
        return self.find_all(root, *patterns)[0]

    def find_all(self, root: Path, *patterns: str) -> list[Path]:
        """Return the sorted paths that match the first pattern with any match, in ``root`` or a folder of ``archives``.

        Raise a UserError if there are none.
        """
        tried = [folder / pattern for folder in self.search_folders(root) for pattern in patterns]
        for path in tried:
            if matches := sorted(path.parent.glob(path.name)):
                for match in matches:
                    if not (match.is_file() or match.is_dir()):
                        raise self.damaged_error(match, "it is a pipe, a device, or a link that leads nowhere")
                return matches
        names = abbreviate(sorted(p.name for p in root.iterdir())) if root.is_dir() else "no such folder"
        more = f" or in {len(tried) - 2} other places" if len(tried) > 2 else ""
        raise UserError(
            f"{self.name}: there is no {' or '.join(map(str, tried[:2]))}{more}; found in {root}: {names}. "
            f"Expected there: {self.layout}; it comes from {self.home}.",
            ExitCode.DATA,
        )

    def search_folders(self, root: Path) -> list[Path]:
        """Return the folders in which the files may be: ``root`` itself, and in it those of the archives."""
        return [root, *(root / archive for archive in self.archives)]

    def damaged_error(self, path: Path, why: str) -> UserError:
        """Return a UserError that says why ``path`` is not as its authors published it."""
        return UserError(
            f"{self.name}: {path} is not as published: {shorten(why, MAX_WHY)}. Fetch it again from {self.home}.",
            ExitCode.DATA,
        )

    def check_number(self, path: Path, images: int, most: int = MAX_IMAGES) -> None:
        """Raise a UserError if a file says that it has more images than the published one."""
        if images > most:
            raise self.damaged_error(path, f"it has {images:,} images, but at most {most:,} are published")

    @contextmanager
    def explain_errors(self, path: Path) -> Iterator[None]:
        """Turn any error while reading ``path`` into a UserError; the formats' libraries raise a dozen kinds each."""
        try:
            yield
        except (UserError, ImportError):
            raise
        except Exception as error:
            raise self.damaged_error(path, f"{type(error).__name__}: {single_line(first_line(error))}") from None

    def read_text(self, path: Path) -> str:
        """Return the text of a small file."""
        with self.explain_errors(path):
            return read_small_text(path)

    def read_lines(self, path: Path) -> list[str]:
        """Return the non-empty lines of a text file, stripped."""
        return [line.strip() for line in self.read_text(path).splitlines() if line.strip()]

    def read_matrices(self, path: Path, *names: str) -> list[np.ndarray]:
        """Return the named arrays of a MATLAB file."""
        try:
            with self.explain_errors(path):
                return read_mat_arrays(path, names)
        except ImportError:
            raise UserError(
                f"{self.name}: {path} is a MATLAB file, which needs the package scipy: pip install 'vitrun[vtab]'",
                ExitCode.DATA,
            ) from None

    def class_folders(self, folder: Path, number: int) -> tuple[str, ...]:
        """Return the sorted names of the folders in ``folder``. Raise a UserError if they are not ``number``."""
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if len(names) != number:
            raise self.damaged_error(folder, f"it has {len(names)} folders, not one for each of {number} classes")
        return tuple(names)

    def image_files(self, folder: Path, names: Sequence[str]) -> ImageFiles:
        """Return ``image`` and ``sizes`` of an OriginalSplit for the files ``names`` in ``folder``.

        Raise a UserError if one is missing, or is named by a path that leads out of the folder.
        """
        outside = [name for name in names if not isinstance(name, str) or leads_out(name)]
        if outside:
            raise self.damaged_error(
                folder, f"an image of its list is called {shorten(single_line(str(outside[0])))!r}, which is not in it"
            )

        @cache
        def list_sizes(subfolder: PurePosixPath) -> dict[str, int]:
            if not (folder / subfolder).is_dir():
                return {}
            with os.scandir(folder / subfolder) as entries:
                return {entry.name: file_size(entry) for entry in entries}

        paths = [PurePosixPath(name) for name in names]
        missing = [path for path in paths if path.name not in list_sizes(path.parent)]
        if missing:
            raise self.damaged_error(
                folder, f"{len(missing)} of {len(names)} images are missing, the first {single_line(str(missing[0]))}"
            )

        def image(index: int) -> bytes:
            with self.explain_errors(folder / paths[index]):
                return read_regular_file(folder / paths[index])

        sizes = np.array([list_sizes(path.parent)[path.name] for path in paths], dtype=np.int64)
        return {"image": image, "sizes": sizes}


def leads_out(name: str) -> bool:
    """Return whether the name of a file in a list leads out of the folder of its images."""
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
