"""The captions of images: one drawn a step in training, all of them in a test."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vitrun.data.split import Split
from vitrun.runtime import random


def draw_captions(split: Split, seed: int, epoch: int, indices: np.ndarray) -> list[str | None]:
    """Return one caption of each image at ``indices`` [B], drawn from (seed, epoch, index); None without captions."""
    if split.read_captions is None:
        return [None] * len(indices)
    captions = [*map(split.read_captions, indices.tolist())]
    draws = random.uniform(seed, "caption", epoch, indices, 1)[:, 0]  # [B] in [0, 1)
    return [texts[int(draw * len(texts))] for texts, draw in zip(captions, draws)]


def list_captions(split: Split, indices: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """Return all captions of each image at ``indices`` [B]; nothing if the split has none."""
    return () if split.read_captions is None else tuple(map(split.read_captions, indices.tolist()))


def caption_by_class(split: Split, names: Sequence[str], templates: Sequence[str]) -> Split:
    """Return the split with a caption from each template for each image: ``{}`` stands for the name of its class.

    ``names`` [C] are those of the classes. Of several labels the first names the image.
    """
    captions = [tuple(template.replace("{}", name) for template in templates) for name in names]
    labels = split.labels.reshape(len(split), -1)[:, 0]
    return replace(split, read_captions=lambda index: captions[labels[index]])
