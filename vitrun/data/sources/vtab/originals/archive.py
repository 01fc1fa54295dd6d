"""Where an original is published and how it lies on disk: finding its files, and saying what is missing or broken."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vitrun.data.sources.folders import file_size
from vitrun.data.sources.messages import abbreviate, first_line
from vitrun.errors import ExitCode, UserError


@dataclass(frozen=True)
class OriginalSplit:
    """N images of one split as their authors publish them; a UserError where there are none or a label is no class."""

    keys: Sequence[str]  # [N] as tensorflow_datasets hashes them
    labels: dict[str, np.ndarray]  # label name -> [N] int64, as VTAB counts them
    classes: dict[str, tuple[str, ...]]  # label name -> the names of all classes, also of absent ones
    image: Callable[[int], bytes | np.ndarray]  # the file's bytes, or uint8 [h, w] or [h, w, 3]
    where: str  # the files that it came from
    sizes: np.ndarray | None = None  # [N] bytes of each image's file, where it has one

    def __post_init__(self):
        if not self.keys:
            raise UserError(f"{self.where}: there are no images. Fetch it again.", ExitCode.DATA)
        for name, labels in self.labels.items():
            outside = (labels < 0) | (labels >= len(self.classes[name]))
            if outside.any():
                first = int(outside.argmax())
                raise UserError(
                    f"{self.where}: {self.keys[first]} has the {name} {labels[first]}, which is none of the classes "
                    f"0 to {len(self.classes[name]) - 1}. Fetch it again.",
                    ExitCode.DATA,
                )


@dataclass(frozen=True)
class Archive:
    """One original: what a complete folder holds, where that comes from, and what its page asks for."""

    name: str
    layout: str
    page: str
    archives: tuple[str, ...] = ()  # folders that its archives make, which may lie between
    account: str = "no account is needed"

    @property
    def home(self) -> str:
        """The page, and what it asks for."""
        return f"{self.page} ({self.account})"

    def find(self, root: Path, *patterns: str) -> Path:
        """The first file or folder that fits one of ``patterns``; a UserError where there is none."""
        return self.find_all(root, *patterns)[0]

    def find_all(self, root: Path, *patterns: str) -> list[Path]:
        """The sorted paths below ``root``, or a folder of its archives, that fit the first pattern which any fits."""
        tried = [place / pattern for place in self.search_folders(root) for pattern in patterns]
        for path in tried:
            if found := sorted(path.parent.glob(path.name)):
                return found
        names = abbreviate(sorted(p.name for p in root.iterdir())) if root.is_dir() else "no such folder"
        raise UserError(
            f"{self.name}: there is no {' or '.join(map(str, tried))}; found in {root}: {names}. "
            f"Expected there: {self.layout}; it comes from {self.home}.",
            ExitCode.DATA,
        )

    def search_folders(self, root: Path) -> list[Path]:
        """Where the files may lie: ``root`` itself, and in it the folders of the archives."""
        return [root, *(root / archive for archive in self.archives)]

    def damaged_error(self, path: Path, why: str) -> UserError:
        """The UserError that says why ``path`` is not what its authors published."""
        return UserError(
            f"{self.name}: {path} is not as published: {why}. "
            f"Expected: {self.layout}. Fetch it again from {self.home}.",
            ExitCode.DATA,
        )

    @contextmanager
    def explain_errors(self, path: Path) -> Iterator[None]:
        """Say in one sentence what made ``path`` unreadable; each format's library raises another dozen of kinds."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise self.damaged_error(path, f"{type(error).__name__}: {first_line(error)}") from None

    def read_lines(self, path: Path) -> list[str]:
        """The lines of a text file that are not empty, without the space around them."""
        with self.explain_errors(path):
            return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    def read_matrices(self, path: Path, *names: str) -> list[np.ndarray]:
        """The named arrays of a MATLAB file."""
        from scipy.io import loadmat

        with self.explain_errors(path):
            found = loadmat(path, variable_names=names)
            return [found[name] for name in names]

    def class_folders(self, folder: Path, number: int) -> tuple[str, ...]:
        """The names of the folders in ``folder``, sorted; a UserError where they are not ``number``."""
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if len(names) != number:
            raise self.damaged_error(folder, f"it has {len(names)} folders, not one for each of {number} classes")
        return tuple(names)

    def image_files(self, folder: Path, names: Sequence[str]) -> dict[str, Any]:
        """An ``Original``'s image and sizes, of files ``names`` in ``folder``; a UserError where one is missing."""

        @cache
        def present(place: PurePosixPath) -> dict[str, int]:
            if not (folder / place).is_dir():
                return {}
            with os.scandir(folder / place) as entries:
                return {entry.name: file_size(entry) for entry in entries}

        paths = [PurePosixPath(name) for name in names]
        lost = [path for path in paths if path.name not in present(path.parent)]
        if lost:
            raise self.damaged_error(folder, f"{len(lost)} of {len(names)} images are missing, the first {lost[0]}")

        def image(index: int) -> bytes:
            with self.explain_errors(folder / paths[index]):
                return (folder / paths[index]).read_bytes()

        sizes = np.array([present(path.parent)[path.name] for path in paths], dtype=np.int64)
        return {"image": image, "sizes": sizes}
