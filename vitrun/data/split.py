"""A split: images with their keys and labels, in memory or read one by one."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from vitrun.data.decode import decode
from vitrun.data.sampler import Order
from vitrun.errors import Exit, Mistake
from vitrun.runtime.console import counted

IN_MEMORY = 2**30  # bytes of pixels that a split of equal images may take to be decoded once
CHUNK = 500  # images a thread decodes at a time
TINY = 32 * 32  # pixels: decoding no more takes less time than threads lose by handing Python's lock to each other
# The number that any thread sets holds in all that have not asked for theirs: the main thread asks before it is set.
torch.get_num_threads()
THREADS = ThreadPoolExecutor(os.cpu_count(), "decode", partial(torch.set_num_threads, 1))


class BadImage(Mistake):
    """A file that was read and is no readable image."""


@dataclass(frozen=True)
class Chosen(Sequence):
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
    """N images with keys and labels; ``pixels`` where they are in memory, else ``encoded`` reads the bytes of one."""

    keys: Sequence[str]  # [N] names that stay with an image whatever its place
    labels: np.ndarray  # [N]; or [N, K] where an image may have several, padded with -1
    classes: tuple[str, ...]
    pixels: Tensor | None = None  # [N, 3, H, W] uint8
    encoded: Callable[[int], bytes | memoryview | np.ndarray] | None = None  # an array is uint8 [h, w] or [h, w, 3]
    sizes: np.ndarray | None = None  # [N] bytes of each encoded image, where that is known without reading it
    skipped: int = 0  # bad images that were left out
    whole: str = ""  # ``identity`` before they were
    where: str = ""  # the files that it came from, where that needs telling
    accepted: np.ndarray | None = None  # [N, A] labels that count as right, then -1; none for the label alone
    among: np.ndarray | None = None  # [C, A] labels of ImageNet that stand for each class; none for a set of its own
    shards: Order | None = None  # where the images of a set lie that is best read in their order
    code: str | None = None  # of keys and labels, where an index knows it

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """The labels that count as right: [N, A], filled up with -1; an image that has none does not count."""
        return self.labels.reshape(len(self), -1) if self.accepted is None else self.accepted

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over classes, keys, labels, which of them count as right, and sizes of files."""
        return self.digest(self.labels, self.accepted, self.among, self.sizes)

    @cached_property
    def identity(self) -> str:
        """The same over classes, keys and sizes alone: which images these are, bad ones too, whatever their labels."""
        return self.whole or self.digest(self.sizes)

    def digest(self, *facts: np.ndarray | None) -> str:
        """16 hex digits of a SHA-256 over classes, keys and facts."""
        code = hashlib.sha256("\n".join(self.classes).encode())
        if self.code:
            code.update(self.code.encode())
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
        return self.shards or Order(np.array([0, len(self)]), len(self))

    def targets(self, indices: np.ndarray) -> Tensor:
        """The labels at ``indices``: [B] or [B, K] int64."""
        return torch.from_numpy(self.labels[indices].astype(np.int64))

    def decode(self, index: int) -> np.ndarray:
        """The image at ``index``: [3, h, w] uint8; a BadImage that names it where it is none."""
        data = self.read(index)
        try:
            return decode(data)
        except MemoryError:  # which is not the image's fault
            raise
        except Exception as error:  # whatever a decoder raises
            raise self.bad(index, data, error) from None

    def read(self, index: int) -> bytes | memoryview | np.ndarray:
        """The image at ``index`` as its source has it; a Mistake, and no BadImage, where that cannot be read."""
        try:
            return self.encoded(index)
        except OSError as error:
            sentence = f"{self.keys[index]} cannot be read: {error}. Bring it back, or remove what names it."
            raise Mistake(sentence, Exit.DATA) from None

    def bad(self, index: int, data: bytes | memoryview | np.ndarray, error: Exception) -> BadImage:
        """The BadImage that says what made the ``data`` of the image at ``index`` unreadable."""
        start = bytes(data[:16]).decode("latin-1").strip().encode("unicode_escape").decode()
        return BadImage(
            f"{self.keys[index]} is no readable image ({len(data)} bytes, beginning with '{start}'): {error}. "
            "Replace or remove it.",
            Exit.DATA,
        )

    def raw(self, index: int) -> np.ndarray:
        """The image at ``index`` as it is kept: its bytes, or its pixels where these are in memory."""
        if self.pixels is not None:
            return self.pixels[index].numpy()
        found = self.encoded(index)
        return found if isinstance(found, np.ndarray) else np.frombuffer(found, np.uint8)

    def only(self, rows: np.ndarray) -> "Split":
        """The split of the images at ``rows``, which go up."""
        encoded, pixels, accepted, sizes, shards = self.encoded, self.pixels, self.accepted, self.sizes, self.shards
        return replace(
            self,
            keys=Chosen(self.keys, rows),
            labels=self.labels[rows],
            pixels=None if pixels is None else pixels[torch.from_numpy(rows)],
            encoded=None if encoded is None else lambda index: encoded(int(rows[index])),
            accepted=None if accepted is None else accepted[rows],
            sizes=None if sizes is None else sizes[rows],
            shards=None if shards is None else Order(np.searchsorted(rows, shards.starts), shards.buffer),
            whole="",
            code=self.code and hashlib.sha256(self.code.encode() + rows.astype("<i8").tobytes()).hexdigest(),
        )

    def without(self, keys: set[str]) -> "Split":
        """The split but for the images of these keys; a Mistake where it has no such image, or no other."""
        missing = set(keys)
        kept = np.ones(len(self), bool)
        for row, key in enumerate(self.keys):
            if key in keys:
                kept[row] = False
                missing.discard(key)
        if missing:
            raise Mistake(
                f"{len(missing):,} of the {len(keys):,} images to leave out are none of the training images, "
                f"as {min(missing)}: their list belongs to another data set.",
                Exit.DATA,
            )
        if not kept.any():
            raise Mistake("All training images are to be left out: there is nothing to train on.", Exit.DATA)
        return self.only(np.flatnonzero(kept))


def settled(split: Split) -> Split:
    """The split with its pixels in memory, where its images are of one size, few enough and sound; else as it is."""
    probe = [tried(split, row) for row in range(0, len(split), max(1, len(split) // 16))]
    sides = {image.shape if image is not None else None for image in probe}
    if len(sides) > 1 or None in sides or probe[0].size * len(split) > IN_MEMORY:
        return split
    pixels = np.empty((len(split), *probe[0].shape), dtype=np.uint8)

    def place(start: int) -> bool:
        for row in range(start, min(start + CHUNK, len(split))):
            image = tried(split, row)
            if image is None or image.shape != pixels.shape[1:]:
                return False
            pixels[row] = image
        return True

    _, height, width = probe[0].shape
    spread = map if height * width <= TINY else THREADS.map
    fits = all(spread(place, range(0, len(split), CHUNK)))
    return replace(split, pixels=torch.from_numpy(pixels), encoded=None) if fits else split


def tried(split: Split, row: int) -> np.ndarray | None:
    """The image at ``row``, or None where it is bad."""
    try:
        return split.decode(row)
    except BadImage:
        return None


def bad_images(split: Split) -> dict[int, BadImage]:
    """What is wrong with each bad image, by its place; every image is decoded to find them."""
    if split.pixels is not None:
        return {}

    def check(start: int) -> list[tuple[int, BadImage]]:
        found = []
        for row in range(start, min(start + CHUNK, len(split))):
            try:
                split.decode(row)
            except BadImage as mistake:
                found.append((row, mistake))
        return found

    starts = range(0, len(split), CHUNK)
    return dict(chain.from_iterable(counted(THREADS.map(check, starts), len(starts), f"times {CHUNK} images checked")))


def readable(split: Split, tell: Callable[[str], None]) -> Split:
    """The split without its bad images, each of which ``tell`` is told."""
    bad = bad_images(split)
    if split.pixels is not None:
        return split
    if len(bad) == len(split):
        raise Mistake(f"None of {len(bad)} images can be read: {bad[0]}", Exit.DATA)
    for mistake in bad.values():
        tell(f"skipped: {mistake}")
    sound = split.only(np.setdiff1d(np.arange(len(split)), list(bad)))
    return settled(replace(sound, skipped=len(bad), whole=split.identity))
