"""Images that are held: out of training, to be scored on, or in memory, to be decoded once."""

from dataclasses import replace

import numpy as np

from vitrun.data.split import IN_MEMORY, Split
from vitrun.errors import Exit, Mistake
from vitrun.recipes import held_images
from vitrun.runtime import random


def held_out(split: Split, share: float) -> tuple[Split, Split]:
    """The split without a share of its images, one at least, and the split of that share.

    It is drawn, for sets are sorted by class, and is the same for every run.
    """
    try:
        number = held_images(len(split), share)
    except ValueError as error:
        raise Mistake(f"{error}.", Exit.DATA) from None
    drawn = random.generator(0, "dev").permutation(len(split))
    return split.only(np.sort(drawn[number:])), split.only(np.sort(drawn[:number]))


def kept(split: Split) -> Split:
    """The split whose images stay in memory once they are decoded, as many as take ``IN_MEMORY`` bytes."""
    images: dict[int, np.ndarray] = {}
    taken = 0

    def encoded(index: int) -> np.ndarray:
        nonlocal taken
        if (image := images.get(index)) is None:
            image = split.decode(index).transpose(1, 2, 0)  # [h, w, 3]
            if taken + image.nbytes <= IN_MEMORY:  # threads may count one image twice, and keep it once
                images[index] = image
                taken += image.nbytes
        return image

    return replace(split, encoded=encoded)
