"""Where an original is published and how it lies on disk: finding its files, and saying what is missing or broken."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vitrun.data.sources.folders import listed, size_of
from vitrun.data.sources.parquet import first_line
from vitrun.errors import Exit, Mistake


@dataclass(frozen=True)
class Published:
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
        """The first file or folder that fits one of ``patterns``; a Mistake where there is none."""
        return self.find_all(root, *patterns)[0]

    def find_all(self, root: Path, *patterns: str) -> list[Path]:
        """The sorted paths below ``root``, or a folder of its archives, that fit the first pattern which any fits."""
        tried = [place / pattern for place in self.places(root) for pattern in patterns]
        for path in tried:
            if found := sorted(path.parent.glob(path.name)):
                return found
        names = listed(sorted(p.name for p in root.iterdir())) if root.is_dir() else "no such folder"
        raise Mistake(
            f"{self.name}: there is no {' or '.join(map(str, tried))}; found in {root}: {names}. "
            f"Expected there: {self.layout}; it comes from {self.home}.",
            Exit.DATA,
        )

    def places(self, root: Path) -> list[Path]:
        """Where the files may lie: ``root`` itself, and in it the folders of the archives."""
        return [root, *(root / archive for archive in self.archives)]

    def broken(self, path: Path, why: str) -> Mistake:
        """The Mistake that says why ``path`` is not what its authors published."""
        return Mistake(
            f"{self.name}: {path} is not as published: {why}. "
            f"Expected: {self.layout}. Fetch it again from {self.home}.",
            Exit.DATA,
        )

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Say in one sentence what made ``path`` unreadable; each format's library raises another dozen of kinds."""
        try:
            yield
        except Mistake:
            raise
        except Exception as error:
            raise self.broken(path, f"{type(error).__name__}: {first_line(error)}") from None

    def lines(self, path: Path) -> list[str]:
        """The lines of a text file that are not empty, without the space around them."""
        with self.reading(path):
            return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    def matrices(self, path: Path, *names: str) -> list[np.ndarray]:
        """The named arrays of a MATLAB file."""
        from scipy.io import loadmat

        with self.reading(path):
            found = loadmat(path, variable_names=names)
            return [found[name] for name in names]

    def classes(self, folder: Path, number: int) -> tuple[str, ...]:
        """The names of the folders in ``folder``, sorted; a Mistake where they are not ``number``."""
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if len(names) != number:
            raise self.broken(folder, f"it has {len(names)} folders, not one for each of {number} classes")
        return tuple(names)

    def images(self, folder: Path, names: Sequence[str]) -> dict[str, Any]:
        """An ``Original``'s image and sizes, of files ``names`` in ``folder``; a Mistake where one is missing."""

        @cache
        def present(place: PurePosixPath) -> dict[str, int]:
            if not (folder / place).is_dir():
                return {}
            with os.scandir(folder / place) as entries:
                return {entry.name: size_of(entry) for entry in entries}

        paths = [PurePosixPath(name) for name in names]
        lost = [path for path in paths if path.name not in present(path.parent)]
        if lost:
            raise self.broken(folder, f"{len(lost)} of {len(names)} images are missing, the first {lost[0]}")

        def image(index: int) -> bytes:
            with self.reading(folder / paths[index]):
                return (folder / paths[index]).read_bytes()

        sizes = np.array([present(path.parent)[path.name] for path in paths], dtype=np.int64)
        return {"image": image, "sizes": sizes}
