"""Files of tensors that ranks share, by torch.distributed.checkpoint: safetensors, one file of each rank.

Any number of ranks reads them, each the parts that it needs. Nothing in them is unpickled.
"""

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import EIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed import checkpoint
from torch.distributed.checkpoint.api import CheckpointException

from vitrun.runtime import distributed
from vitrun.runtime.files import hash_file, name_partial, remove

WRITTEN = "shard-{:05d}-model-00001-of-00001.safetensors"  # torch's name of the file of a rank, counted from 1
NAME = "shard-{:05d}-of-{:05d}.safetensors"
PATTERN = "shard-*-of-*.safetensors"


@dataclass(frozen=True)
class StagedParts:
    """Files that all ranks have written to a hidden folder, or why one could not."""

    folder: Path
    hashes: dict[str, str]  # BLAKE3 hash of each file, by its name
    problem: str | None = None

    def take(self, target: Path) -> dict[str, str]:
        """Put the files into a folder on the same disk, also if that is tried again; return their hashes.

        Raise OSError if a rank could not write its file, or has written it to another disk.
        """
        if self.problem:
            raise OSError(EIO, self.problem)
        for name in self.hashes:
            if not (self.folder / name).exists():
                where = "the folder of runs must be on a disk that all hosts share"
                raise OSError(EIO, f"{name} of another host is not here: {where}")
            try:
                os.link(self.folder / name, target / name)
            except OSError:  # a disk without links
                os.replace(self.folder / name, target / name)
        return self.hashes

    def remove(self) -> None:
        """Remove the hidden folder."""
        with suppress(OSError):
            remove(self.folder)


def stage_parts(path: Path, tensors: Mapping[str, Tensor]) -> StagedParts:
    """Write the parts of tensors that each rank has beside ``path``, the folder that is to have them.

    What all ranks have alike is written by one of them. All ranks call this together.
    """
    folder = distributed.call_on_rank_zero(lambda: name_partial(path))
    writer = checkpoint.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with distributed.exchange():
            checkpoint.save(dict(tensors), storage_writer=writer)
    except CheckpointException as error:
        number, (reason, _) = next(iter(error.failures.items()))
        return StagedParts(folder, {}, f"rank {number}: {getattr(reason, 'strerror', None) or reason}")
    ranks = distributed.all_gather_object(finish_file(folder))
    problem = next((problem for _, problem in ranks if problem), None)
    return StagedParts(folder, {name: code for hashes, _ in ranks for name, code in hashes.items()}, problem)


def finish_file(folder: Path) -> tuple[dict[str, str], str | None]:
    """Rename the file of this rank; return its name and hash, and why that failed if it did."""
    rank, size = distributed.rank(), distributed.world_size()
    file, name = folder / WRITTEN.format(rank + 1), NAME.format(rank + 1, size)
    try:
        if not file.exists():  # this rank has no part of any tensor
            return {}, None
        code = hash_file(file)
        file.rename(folder / name)
    except OSError as error:
        return {}, f"rank {rank}: {error.strerror}"
    return {name: code}, None


def has_parts(folder: Path) -> bool:
    """Return whether a folder has files of ranks."""
    return any(folder.glob(PATTERN))


def list_parts(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return the shape and the type of each tensor in the files of a folder."""
    entries: dict[str, Any] = checkpoint.HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {name: (entry.size, entry.properties.dtype) for name, entry in entries.items()}


def read_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Read tensors in place, or this rank's parts of them; raise ValueError if a folder has others."""
    entries = list_parts(folder)
    for name, tensor in tensors.items():
        if name not in entries or entries[name][0] != tensor.shape:
            raise ValueError(f"{name} is {list(entries[name][0]) if name in entries else 'missing'}")
    reader = checkpoint.HuggingFaceStorageReader(str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that this is one process: no rank has to wait for another
        checkpoint.load(dict(tensors), storage_reader=reader, no_dist=True)
