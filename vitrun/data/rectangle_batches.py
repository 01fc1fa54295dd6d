"""Batches of test images that keep their aspect ratio, for detectors."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from vitrun.data.batch import Batch
from vitrun.data.captions import list_captions
from vitrun.data.sampler import rank_range
from vitrun.data.split import DECODE_POOL, Split
from vitrun.data.transforms.rectangles import RectangleView
from vitrun.errors import UserError
from vitrun.runtime import distributed

MOST_TOGETHER = 8  # images of a batch, padded to the largest: more would be mostly padding


def rectangle_batches(
    split: Split, view: RectangleView, batch: int, report: Callable[[int, UserError], None]
) -> Iterator[Batch]:
    """Yield every image of the split that can be read once, in order; call ``report`` for each of the others.

    Each rank yields a contiguous share of the images, in batches of up to ``MOST_TOGETHER``. Their ``inputs`` are the
    padding, see :meth:`RectangleView.join`; they have ``sizes`` and no ``boxes``.
    """
    start, end = rank_range(len(split), distributed.rank(), distributed.world_size())
    batch = min(MOST_TOGETHER, -(-batch // distributed.world_size()))

    def load(index: int) -> tuple[Tensor, tuple[int, int]] | UserError:
        try:
            image = split.pixels[index] if split.pixels is not None else torch.from_numpy(split.decode(index))
        except UserError as error:
            return error
        return view(image), (image.shape[1], image.shape[2])

    for first in range(start, end, batch):
        rows, views, sizes = [], [], []
        of_batch = range(first, min(first + batch, end))
        for row, loaded in zip(of_batch, DECODE_POOL.map(load, of_batch)):
            if isinstance(loaded, UserError):
                report(row, loaded)
                continue
            rows.append(row)
            views.append(loaded[0])
            sizes.append(loaded[1])
        if rows:
            images, padding = view.join(views)
            indices = np.array(rows)
            yield Batch(
                images,
                split.targets(indices),
                indices,
                inputs=(padding,),
                captions=list_captions(split, indices),
                keys=split.keys,
                table=split.boxes,
                sizes=torch.tensor(sizes),
            )
