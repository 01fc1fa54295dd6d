"""Batch of images with their labels and what an objective adds to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vitrun.data.boxes import Boxes, BoxTable
from vitrun.data.transforms.resize import to_floats
from vitrun.runtime.device import copy_to


@dataclass(frozen=True)
class Batch:
    """Images [B, 3, R, R], labels [B] or [B, K] padded with -1, and indices in the split [B].

    What an objective adds has B rows too: ``inputs`` go to the network, ``targets`` to the loss. A GPU gets ``pixels``
    of 8 bits, a quarter of the bytes, and scales and mixes them itself; :attr:`images` are the same on any device.
    """

    pixels: Tensor  # [B, 3, R, R] float32 in [-1, 1], or uint8 before they are scaled to that
    labels: Tensor
    indices: np.ndarray
    inputs: tuple[Tensor, ...] = ()
    targets: tuple[Tensor, ...] = ()
    captions: tuple[tuple[str, ...], ...] = ()  # of each image: one drawn in training, all in a test; empty without any
    offset: int = 0  # index of the first image in the batch of all ranks
    keys: Sequence[str] = ()  # the names of all images of the split
    boxes: tuple[Boxes, ...] = ()  # that each view shows, without crowds; empty without any in the data set
    step_boxes: int = 0  # how many the views of a training step show, over all ranks; of images as drawn, bad ones too
    table: BoxTable | None = None  # boxes of all images of the split, crowds too, in pixels of the images
    sizes: Tensor = torch.empty(0, 2, dtype=torch.int64)  # [B, 2] height and width of the images, if they have boxes
    partners: Tensor | None = None  # uint8 [B, 3, R, R], with which ``mixing`` mixes the images once both are scaled
    mixing: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def images(self) -> Tensor:
        """Return the images as the network sees them: [B, 3, R, R] in [-1, 1]."""
        return self.load_images(self.pixels.device) if self.pixels.dtype == torch.uint8 else self.pixels

    def mix(self, partners: Tensor, mixing: Callable[[Tensor, Tensor], Tensor]) -> "Batch":
        """Return the batch with ``mixing(images, partners)`` in place of its images; uint8 ones are mixed later."""
        if self.pixels.dtype == torch.uint8:
            return replace(self, partners=partners, mixing=mixing)
        return replace(self, pixels=mixing(self.pixels, partners))

    def list_names(self) -> list[str]:
        """Return the names of the images, or their indices in the split if it has no names."""
        return list_names(self.keys, self.indices)

    def name_images(self, rows: Sequence[int]) -> str:
        """Return the names of the images at ``rows``."""
        names = self.list_names()
        return ", ".join(names[row] for row in rows)

    def pin(self) -> "Batch":
        """Return the batch with its tensors in memory from which a GPU copies them while other work goes on."""
        pixels = self.pixels.pin_memory()
        return replace(
            self,
            pixels=pixels,
            labels=pixels if self.labels is self.pixels else self.labels.pin_memory(),
            inputs=tuple(tensor.pin_memory() for tensor in self.inputs),
            targets=tuple(tensor.pin_memory() for tensor in self.targets),
            partners=None if self.partners is None else self.partners.pin_memory(),
        )

    def micro_batch(self, rows: slice | np.ndarray, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
        """Return the inputs of the network and the targets of the loss for ``rows``, on ``device``."""
        images = self.load_images(device, rows)
        labels = [] if self.labels is self.pixels else [self.labels]
        tensors = copy_to([tensor[rows] for tensor in (*self.inputs, *labels, *self.targets)], device)
        inputs, targets = tensors[: len(self.inputs)], tensors[len(self.inputs) :]
        return [images, *inputs], targets if labels else [images, *targets]

    def load_images(self, device: torch.device, rows: slice | np.ndarray = slice(None)) -> Tensor:
        """Return the images at ``rows`` in [-1, 1], on ``device``, which scales and mixes uint8 ones: [B, 3, R, R]."""
        if self.partners is None or self.mixing is None:
            (pixels,) = copy_to([self.pixels[rows]], device)
            return to_floats(pixels)
        images, partners = map(to_floats, copy_to([self.pixels[rows], self.partners[rows]], device))
        return self.mixing(images, partners)


def list_names(keys: Sequence[str], indices: np.ndarray) -> list[str]:
    """Return the names of the images at ``indices`` [B] of a split, or these indices if it has no ``keys``."""
    return [keys[index] if len(keys) else str(index) for index in indices.tolist()]
