"""Arrays that took long to compute, in files of the user's cache."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vitrun.runtime.files import remove_partials, write_atomic
from vitrun.runtime.process import share_folder
from vitrun.runtime.user_cache import user_cache_folder

FOLDER = "index"


def identify_files(paths: Sequence[Path]) -> list[tuple[str, int, int, int]]:
    """Return names, sizes and times of files; one of these is ctime, which no program can set back."""
    states = [(path.name, os.stat(path)) for path in paths]
    return [(name, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for name, state in states]


def name_arrays(facts: Any) -> Path:
    """Return the file of arrays that are a function of ``facts``, a JSON value."""
    return user_cache_folder() / FOLDER / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.npz"


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays in a file of :func:`name_arrays`; None if there is none, or it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # by the checksum of each array
                return None
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception:  # no file, or whatever a damaged one raises: the arrays are computed again
        return None


def store_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file; do nothing if it cannot be written, as it is only faster with it."""

    def write(partial: Path) -> None:
        with open(partial, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes them for options

    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with share_folder(path.parent, lambda: remove_partials(path.parent, r"[0-9a-f]{16}(\.npz)?")):
            write_atomic(path, write)
