"""Split: the images of a part of a data set with their keys and labels, in memory or read one by one."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import overload

import numpy as np
import torch
from torch import Tensor

from vitrun.data.boxes import BoxTable
from vitrun.data.decode import decode_image
from vitrun.data.sampler import BalancedOrder, Order
from vitrun.data.sources.messages import first_line, shorten
from vitrun.errors import ExitCode, UserError

Encoded = bytes | memoryview | np.ndarray  # an image file's bytes, or its pixels: uint8 [h, w] or [h, w, 3]
# torch.set_num_threads also changes the number for all threads that have not read theirs yet. So the main thread reads
# its own here, before the threads of the pool start.
torch.get_num_threads()
DECODE_POOL = ThreadPoolExecutor(os.cpu_count(), "decode", partial(torch.set_num_threads, 1))

PLACEHOLDER = "as published"  # the index fingerprint of a split without its images


class BadImage(UserError):
    """An image that was read but cannot be decoded."""


@dataclass(frozen=True)
class KeySubset(Sequence[str]):
    """Some of the keys of a split, looked up on access."""

    keys: Sequence[str]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        rows = self.rows[at]
        return [self.keys[row] for row in rows.tolist()] if isinstance(at, slice) else self.keys[int(rows)]


@dataclass(frozen=True)
class Split:
    """N images with keys and labels, either in memory (``pixels``) or read one by one (``read_encoded``)."""

    keys: Sequence[str]  # [N] names of the images, which do not depend on their order
    labels: np.ndarray  # [N]; or [N, K] if an image may have several, padded with -1
    classes: tuple[str, ...]  # names, or their numbers from 0 if the source has no names
    pixels: Tensor | None = None  # [N, 3, H, W] uint8
    read_encoded: Callable[[int], Encoded] | None = None
    sizes: np.ndarray | None = None  # [N] bytes of each encoded image, if known without reading it
    fast_jpeg: bool = False  # whether to decode JPEGs as TensorFlow does
    skipped: int = 0  # number of bad images that were dropped
    full_identity: str = ""  # ``identity`` before they were dropped
    location: str = ""  # the files that it was read from, for the log
    notes: tuple[str, ...] = ()  # further lines for the log, such as files that were left out
    named: bool = False  # whether classes are names even if they are numbers from 0, as for folders
    exif: bool = False  # whether images are rotated according to their EXIF orientation
    accepted: np.ndarray | None = None  # [N, A] labels that count as correct, padded with -1; None for `labels`
    imagenet_labels: np.ndarray | None = None  # [C, A] ImageNet labels that mean the same as each class, if any
    shard_order: Order | None = None  # the order for training, if random access is slow
    balanced_order: BalancedOrder | None = None  # the order for training, if all classes are drawn equally often
    index_fingerprint: str | None = None  # of keys and labels, if an index stores it
    read_captions: Callable[[int], tuple[str, ...]] | None = None  # of an image, if the data set has captions
    captions_fingerprint: str = ""  # of all captions, if they are not a function of the keys
    boxes: BoxTable | None = None  # around objects, if the data set has boxes; `labels` are their classes
    unusable: Mapping[int, str] = field(default_factory=dict)  # known bad images, each with what is wrong
    in_tfds_order: bool = False  # whether the images are in the order of TensorFlow Datasets

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct_labels(self) -> np.ndarray:
        """Return the labels that count as correct, [N, A] padded with -1; an image without any is not counted."""
        return self.labels.reshape(len(self), -1) if self.accepted is None else self.accepted

    @cached_property
    def fingerprint(self) -> str:
        """Return 16 hex digits of a SHA-256 over classes, keys, labels, correct labels, file sizes, and ``exif``."""
        turned = np.ones(1) if self.exif else None
        boxes = () if self.boxes is None else self.boxes.facts()
        return self.hash_facts(self.labels, self.accepted, self.imagenet_labels, self.sizes, turned, *boxes)

    @cached_property
    def identity(self) -> str:
        """Return 16 hex digits of a SHA-256 over classes, keys and file sizes, including bad images, without labels."""
        return self.full_identity or self.hash_facts(self.sizes)

    def hash_facts(self, *facts: np.ndarray | None) -> str:
        """Return 16 hex digits of a SHA-256 over classes, keys and ``facts``."""
        code = hashlib.sha256("\n".join(self.classes).encode())
        if self.index_fingerprint:
            code.update(self.index_fingerprint.encode())
            return code.hexdigest()[:16]
        for first in range(0, len(self), 65536):
            code.update("\n".join(self.keys[first : first + 65536]).encode())
        for numbers in facts:
            if numbers is not None:
                code.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
        code.update(self.captions_fingerprint.encode())
        return code.hexdigest()[:16]

    @cached_property
    def order(self) -> Order | BalancedOrder:
        """Return the order in which training reads the images."""
        return self.balanced_order or self.shard_order or Order(np.array([0, len(self)]), len(self))

    def targets(self, indices: np.ndarray) -> Tensor:
        """Return the labels at ``indices``: [B] or [B, K] int64."""
        return torch.from_numpy(self.labels[indices].astype(np.int64))

    def decode(self, index: int) -> np.ndarray:
        """Return the image at ``index``, uint8 [3, h, w]; raise a BadImage that names it if it cannot be decoded."""
        return self.decode_encoded(index, self.load_encoded(index))

    def decode_encoded(self, index: int, data: Encoded) -> np.ndarray:
        """Return the image at ``index`` as :meth:`decode` does, from the content of its file."""
        try:
            image = decode_image(data, self.fast_jpeg, self.exif)
        except MemoryError:  # not a fault of the image
            raise
        except Exception as error:  # whatever a decoder raises
            raise self.bad_image_error(index, data, error) from None
        if self.boxes is not None:
            self.check_size(index, image.shape[1:])
        return image

    def check_size(self, index: int, size: tuple[int, ...]) -> None:
        """Raise a BadImage if the image at ``index`` does not have the height and width that its boxes are for."""
        assert self.boxes is not None
        height, width = self.boxes.sizes[index].tolist()
        if size != (height, width):
            turned = " Its EXIF orientation may turn it: try the other data.exif." if size == (width, height) else ""
            key = shorten(self.keys[index], 120)
            why = f"is {size[1]} by {size[0]} pixels, and its boxes are of an image of {width} by {height}"
            raise BadImage(f"{key} {why}: restore the file, or correct its entry.{turned}", ExitCode.DATA)

    def load_encoded(self, index: int) -> Encoded:
        """Return the image at ``index`` as its source has it; raise UserError (not BadImage) if it cannot be read."""
        assert self.read_encoded is not None
        if index in self.unusable:
            raise BadImage(f"{shorten(self.keys[index], 120)} {self.unusable[index]}", ExitCode.DATA)
        try:
            return self.read_encoded(index)
        except OSError as error:
            denied = isinstance(error, PermissionError)
            way_out = "Make it readable" if denied else "Restore the file, or remove the entry that names it"
            why = error.strerror or str(error)
            raise UserError(f"{self.keys[index]} cannot be read: {why}. {way_out}.", ExitCode.DATA) from None
        except ValueError as error:  # the file is too large, or is not a regular file
            key = shorten(self.keys[index], 120)
            raise BadImage(f"{key} is not a readable image: {error}. Replace or remove it.", ExitCode.DATA) from None

    def bad_image_error(self, index: int, data: Encoded, error: Exception) -> BadImage:
        """Return the BadImage that says why the ``data`` of the image at ``index`` cannot be decoded."""
        start = bytes(data[:16]).decode("latin-1").strip().encode("unicode_escape").decode()
        why, way_out = explain_content(bytes(data[:100])) or (first_line(error), "Replace or remove it.")
        return BadImage(
            f"{shorten(self.keys[index], 120)} is not a readable image ({len(data)} bytes, starting with '{start}'): "
            f"{why}. {way_out}",
            ExitCode.DATA,
        )

    def raw(self, index: int) -> np.ndarray:
        """Return the image at ``index`` as stored: its bytes, or its pixels if they are in memory."""
        if self.pixels is not None:
            return self.pixels[index].numpy()
        assert self.read_encoded is not None
        data = self.read_encoded(index)
        return data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)

    def select(self, rows: np.ndarray) -> "Split":
        """Return the split of the images at ``rows``, which are sorted and may contain an image several times."""
        encoded, pixels, accepted, sizes = self.read_encoded, self.pixels, self.accepted, self.sizes
        shards, code, captions = self.shard_order, self.index_fingerprint, self.read_captions
        bad = np.flatnonzero(np.isin(rows, [*self.unusable])) if self.unusable else np.empty(0, np.int64)
        return replace(
            self,
            keys=KeySubset(self.keys, rows),
            labels=self.labels[rows],
            pixels=None if pixels is None else pixels[torch.from_numpy(rows)],
            read_encoded=None if encoded is None else lambda index: encoded(int(rows[index])),
            accepted=None if accepted is None else accepted[rows],
            sizes=None if sizes is None else sizes[rows],
            read_captions=None if captions is None else lambda index: captions(int(rows[index])),
            boxes=None if self.boxes is None else self.boxes.select(rows),
            unusable={int(row): self.unusable[int(rows[row])] for row in bad},
            shard_order=None if shards is None else Order(np.searchsorted(rows, shards.starts), shards.buffer),
            balanced_order=None,
            full_identity="",
            index_fingerprint=code and hashlib.sha256(code.encode() + rows.astype("<i8").tobytes()).hexdigest(),
        )

    def exclude(self, keys: set[str]) -> "Split":
        """Return the split without the images of ``keys``; raise UserError if a key is unknown, or if none are left."""
        missing = set(keys)
        selected = np.ones(len(self), bool)
        for row, key in enumerate(self.keys):
            if key in keys:
                selected[row] = False
                missing.discard(key)
        if missing:
            raise UserError(
                f"{len(missing):,} of the {len(keys):,} images to exclude are not training images, such as "
                f"{min(missing)}: the list belongs to another data set.",
                ExitCode.DATA,
            )
        if not selected.any():
            raise UserError("All training images are excluded: there is nothing to train on.", ExitCode.DATA)
        return self.select(np.flatnonzero(selected))


def explain_content(start: bytes) -> tuple[str, str] | None:
    """Return what a file is, judged by its first bytes, and what to do about it; None if that is not known."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS and not the image", "Fetch it with git lfs pull, or remove it."
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, which a download saved in place of the image", "Download it again, or remove it."
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheif", b"ftyphevc"):
        return "it is a HEIC photograph, which cannot be read", "Convert it to JPEG, or remove it."
    return None


def balance_classes(split: Split) -> Split:
    """Return the split, of single labels, in an order in which every class with images comes equally often."""
    classes = [np.flatnonzero(split.labels == label) for label in np.unique(split.labels)]
    return replace(split, balanced_order=BalancedOrder(tuple(classes)))
