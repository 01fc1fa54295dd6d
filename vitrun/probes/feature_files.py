"""Files of the features of some images of a split: each row is stored once, and a file is never changed."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vitrun.models.checkpoint_file import save_tensors
from vitrun.models.tensor_files.safetensors_writer import view_bytes
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.files import remove_partials
from vitrun.runtime.process import share_folder

FOLDER = "features"  # beside the runs
NAME = r"[0-9a-f]{16}-[0-9a-f]{16}\.safetensors"  # of a file: a hash of what features depend on, and one of its rows
BLOCK = 16384  # images of a file: what was computed before a process is killed stays
ROWS = "rows"  # the tensor with the rows of a file's images


class FeatureFiles:
    """The files of features that depend on the same ``cache_key``.

    Processes that compute the same rows at the same time write equal features, of which one is read.
    """

    def __init__(self, run: Run, cache_key: tuple[object, ...], what: str = FOLDER):
        self.run, self.what, self.folder = run, what, run.recipe.runs / what.replace(" ", "_")
        self.key = hashlib.sha256(repr(cache_key).encode()).hexdigest()[:16]

    def extract(
        self, rows: np.ndarray, compute: Callable[[np.ndarray, Callable[[int], None]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return tensors of the images at ``rows``, sorted: each [N, ...], read from files or computed and stored.

        ``compute(rows, tick)`` returns those of images that no file has; it calls ``tick`` with the number of images
        after each batch.
        """
        results, stored = self.load(rows)
        if stored.any():
            self.run.log(f"{self.what} of {stored.sum():,} images read from {self.folder}")
        missing = rows[~stored]
        parts = []
        with self.run.screen.progress(self.what, len(missing), 0) as bar:
            tick = self.run.progress_callback(bar)
            for first in range(0, len(missing), BLOCK):
                block = missing[first : first + BLOCK]
                parts.append(compute(block, tick))
                self.save(block, parts[-1])
        if not parts:
            return results
        computed = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if not stored.any():
            return computed
        for name, values in computed.items():
            results[name][torch.from_numpy(~stored)] = values
        return results

    def count_missing(self, rows: np.ndarray) -> int:
        """Return how many of ``rows`` are in no file."""
        return len(rows) - sum(len(positions) for _, positions, _ in self.find(rows))

    def load(self, rows: np.ndarray) -> tuple[dict[str, Tensor], np.ndarray]:
        """Return the tensors of ``rows``, [N, ...], undefined where no file has them, and which rows are there [N]."""
        results: dict[str, Tensor] = {}
        stored = np.zeros(len(rows), bool)
        for file, positions, places in distributed.call_on_rank_zero(lambda: self.find(rows)):
            with safe_open(self.folder / file, "pt") as content:
                for name in set(content.keys()) - {ROWS}:
                    values = content.get_tensor(name)
                    result = results.setdefault(name, values.new_empty(len(rows), *values.shape[1:]))
                    result[torch.from_numpy(positions)] = values[torch.from_numpy(places)]
            stored[positions] = True
        return results, stored

    def find(self, rows: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Return the files that have some of ``rows``: each name, the positions in ``rows``, and those in the file.

        A damaged file is removed, so that its images are computed again.
        """
        places = []
        left = np.ones(len(rows), bool)
        for file in sorted(self.folder.glob(f"{self.key}-*.safetensors")):
            with remove_if_damaged(file, self.run), safe_open(file, "pt") as content:
                stored = content.get_tensor(ROWS).numpy()
                wanted = left & np.isin(rows, stored)
                if not wanted.any():
                    continue
                check_content(content)
                left &= ~wanted
                positions = np.flatnonzero(wanted)
                places.append((file.name, positions, np.searchsorted(stored, rows[positions])))
        return places

    def save(self, rows: np.ndarray, tensors: dict[str, Tensor]) -> None:
        """Write the tensors of the images at ``rows``, sorted, into a file of their own."""
        if distributed.rank():
            return
        content = tensors | {ROWS: torch.from_numpy(rows)}
        file = self.folder / f"{self.key}-{hashlib.sha256(rows.data).hexdigest()[:16]}.safetensors"
        write_hashed(file, content, self.run, NAME)


def write_hashed(file: Path, tensors: dict[str, Tensor], run: Run, names: str) -> None:
    """Write tensors and their BLAKE3 hash atomically; first remove partial files of ``names`` of killed processes.

    Raise UserError if the disk does not take them.
    """
    try:
        file.parent.mkdir(exist_ok=True)
        with share_folder(file.parent, lambda: remove_partials(file.parent, names)):
            save_tensors(file, tensors, {"blake3": hash_tensors(tensors)})
    except OSError as error:
        raise run.unwritable_error(file, error) from None


@contextmanager
def remove_if_damaged(file: Path, run: Run) -> Iterator[None]:
    """Read ``file`` in this context: if it is damaged, warn, remove it and go on after the context."""
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        run.warn(f"{file} is damaged ({error}): computing it again")
        if not run.dry:
            file.unlink(missing_ok=True)


def check_content(content: Any) -> dict[str, Tensor]:
    """Return the tensors of an open file of :func:`write_hashed`; raise ValueError if it has changed since."""
    tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    if (content.metadata() or {}).get("blake3") != hash_tensors(tensors):
        raise ValueError("the content is not what was saved")
    return tensors


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """Return the BLAKE3 hash of the tensors' bytes, in the order of their names."""
    digest = blake3()
    for name in sorted(tensors):
        digest.update(view_bytes(tensors[name]))
    return digest.hexdigest()
