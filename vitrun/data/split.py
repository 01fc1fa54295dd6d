"""A split: images with their keys and labels, in memory or read one by one."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from vitrun.data.decode import decode_image
from vitrun.data.sampler import Order
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import count_held_out
from vitrun.runtime import random

Encoded = bytes | memoryview | np.ndarray  # an image file's bytes, or its pixels: uint8 [h, w] or [h, w, 3]
# The number that any thread sets holds in all that have not asked for theirs: the main thread asks before it is set.
torch.get_num_threads()
DECODE_POOL = ThreadPoolExecutor(os.cpu_count(), "decode", partial(torch.set_num_threads, 1))


class BadImage(UserError):
    """A file that was read and is no readable image."""


@dataclass(frozen=True)
class KeySubset(Sequence):
    """Some of the keys of a split, each made when it is asked for."""

    keys: Sequence[str]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int | slice) -> str | list[str]:
        rows = self.rows[at]
        return [self.keys[row] for row in rows.tolist()] if isinstance(at, slice) else self.keys[int(rows)]


@dataclass(frozen=True)
class Split:
    """N images with keys and labels, either in memory (``pixels``) or read one by one (``read_encoded``)."""

    keys: Sequence[str]  # [N] names that stay with an image whatever its place
    labels: np.ndarray  # [N]; or [N, K] where an image may have several, padded with -1
    classes: tuple[str, ...]
    pixels: Tensor | None = None  # [N, 3, H, W] uint8
    read_encoded: Callable[[int], Encoded] | None = None
    sizes: np.ndarray | None = None  # [N] bytes of each encoded image, where that is known without reading it
    skipped: int = 0  # bad images that were left out
    full_identity: str = ""  # ``identity`` before they were
    location: str = ""  # the files that it came from, where that needs telling
    accepted: np.ndarray | None = None  # [N, A] labels that count as right, then -1; none for the label alone
    imagenet_labels: np.ndarray | None = None  # [C, A] ImageNet labels that stand for each class, if they do
    shard_order: Order | None = None  # where the images of a set lie that is best read in their order
    index_fingerprint: str | None = None  # of keys and labels, where an index knows it

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct_labels(self) -> np.ndarray:
        """The labels that count as right: [N, A], filled up with -1; an image that has none does not count."""
        return self.labels.reshape(len(self), -1) if self.accepted is None else self.accepted

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over classes, keys, labels, which of them count as right, and sizes of files."""
        return self.hash_facts(self.labels, self.accepted, self.imagenet_labels, self.sizes)

    @cached_property
    def identity(self) -> str:
        """The same over classes, keys and sizes alone: which images these are, bad ones too, whatever their labels."""
        return self.full_identity or self.hash_facts(self.sizes)

    def hash_facts(self, *facts: np.ndarray | None) -> str:
        """16 hex digits of a SHA-256 over classes, keys and facts."""
        code = hashlib.sha256("\n".join(self.classes).encode())
        if self.index_fingerprint:
            code.update(self.index_fingerprint.encode())
            return code.hexdigest()[:16]
        for first in range(0, len(self), 65536):
            code.update("\n".join(self.keys[first : first + 65536]).encode())
        for numbers in facts:
            if numbers is not None:
                code.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
        return code.hexdigest()[:16]

    @cached_property
    def order(self) -> Order:
        """The order in which training sees the images."""
        return self.shard_order or Order(np.array([0, len(self)]), len(self))

    def targets(self, indices: np.ndarray) -> Tensor:
        """The labels at ``indices``: [B] or [B, K] int64."""
        return torch.from_numpy(self.labels[indices].astype(np.int64))

    def decode(self, index: int) -> np.ndarray:
        """The image at ``index``: [3, h, w] uint8; a BadImage that names it where it is none."""
        data = self.load_encoded(index)
        try:
            return decode_image(data)
        except MemoryError:  # which is not the image's fault
            raise
        except Exception as error:  # whatever a decoder raises
            raise self.bad_image_error(index, data, error) from None

    def load_encoded(self, index: int) -> Encoded:
        """The image at ``index`` as its source has it; a UserError, and no BadImage, where that cannot be read."""
        try:
            return self.read_encoded(index)
        except OSError as error:
            sentence = f"{self.keys[index]} cannot be read: {error}. Bring it back, or remove what names it."
            raise UserError(sentence, ExitCode.DATA) from None

    def bad_image_error(self, index: int, data: Encoded, error: Exception) -> BadImage:
        """The BadImage that says what made the ``data`` of the image at ``index`` unreadable."""
        start = bytes(data[:16]).decode("latin-1").strip().encode("unicode_escape").decode()
        return BadImage(
            f"{self.keys[index]} is no readable image ({len(data)} bytes, beginning with '{start}'): {error}. "
            "Replace or remove it.",
            ExitCode.DATA,
        )

    def raw(self, index: int) -> np.ndarray:
        """The image at ``index`` as it is kept: its bytes, or its pixels where these are in memory."""
        if self.pixels is not None:
            return self.pixels[index].numpy()
        found = self.read_encoded(index)
        return found if isinstance(found, np.ndarray) else np.frombuffer(found, np.uint8)

    def select(self, rows: np.ndarray) -> "Split":
        """The split of the images at ``rows``, which go up."""
        encoded, pixels, accepted, sizes = self.read_encoded, self.pixels, self.accepted, self.sizes
        shards, code = self.shard_order, self.index_fingerprint
        return replace(
            self,
            keys=KeySubset(self.keys, rows),
            labels=self.labels[rows],
            pixels=None if pixels is None else pixels[torch.from_numpy(rows)],
            read_encoded=None if encoded is None else lambda index: encoded(int(rows[index])),
            accepted=None if accepted is None else accepted[rows],
            sizes=None if sizes is None else sizes[rows],
            shard_order=None if shards is None else Order(np.searchsorted(rows, shards.starts), shards.buffer),
            full_identity="",
            index_fingerprint=code and hashlib.sha256(code.encode() + rows.astype("<i8").tobytes()).hexdigest(),
        )

    def exclude(self, keys: set[str]) -> "Split":
        """The split but for the images of these keys; a UserError where it has no such image, or no other."""
        missing = set(keys)
        kept = np.ones(len(self), bool)
        for row, key in enumerate(self.keys):
            if key in keys:
                kept[row] = False
                missing.discard(key)
        if missing:
            raise UserError(
                f"{len(missing):,} of the {len(keys):,} images to leave out are none of the training images, "
                f"as {min(missing)}: their list belongs to another data set.",
                ExitCode.DATA,
            )
        if not kept.any():
            raise UserError("All training images are to be left out: there is nothing to train on.", ExitCode.DATA)
        return self.select(np.flatnonzero(kept))


def hold_out(split: Split, share: float) -> tuple[Split, Split]:
    """The split without a share of its images, one at least, and the split of that share.

    It is drawn, for sets are sorted by class, and is the same for every run.
    """
    number = count_held_out(len(split), share)
    drawn = random.make_generator(0, "dev").permutation(len(split))
    return split.select(np.sort(drawn[number:])), split.select(np.sort(drawn[:number]))
