"""Retrieval between images and their captions, as in section 3 of CLIP's paper (arXiv 2103.00020)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vitrun import models
from vitrun.data import Batch
from vitrun.engine.zero_shot import encode_texts
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine

RANKS = (1, 5, 10)
ROWS = 1024  # of the matrix of cosines at a time


@torch.inference_mode()
def measure_retrieval(
    network: models.Clip, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
) -> Result:
    """Return the recall of captions by images (``text_recall1``, 5 and 10) and of images by captions.

    A batch has all captions of its images. An image counts if one of its captions is among the best k of all captions;
    a caption if its image is among the best k images.
    """
    images, texts, owners = [], [], []
    network.eval()
    for batch in batches:
        with machine.autocast():
            images.append(network.encode_image(batch.load_images(machine.device), normalize=True).float().cpu())
        texts.append(encode_texts(network, [text for own in batch.captions for text in own], machine).cpu())
        counts = [len(own) for own in batch.captions]
        owners.append(np.repeat(batch.indices, counts))
        tick(len(batch.indices))
    parts = [torch.cat(images).numpy(), torch.cat(texts).numpy(), np.concatenate(owners)]
    gathered = [distributed.all_gather_arrays([part])[0] for part in parts]
    gathered[2] = np.unique(gathered[2], return_inverse=True)[1]  # the images are in order of their index
    return count_recalls(*map(torch.from_numpy, gathered))


def count_recalls(images: Tensor, texts: Tensor, owners: Tensor) -> Result:
    """Return the recalls for features [N, E] of images and [T, E] of texts, of which text t belongs to ``owners[t]``.

    Among equal cosines every order is as likely, so that constant features score as chance does.
    """
    of_images = [Counts(*count_texts(rows, first, texts, owners)) for first, rows in cut(images)]
    of_texts = [Counts(*count_images(rows, images, owners[first : first + ROWS])) for first, rows in cut(texts)]
    recalls = {f"text_recall{k}": average_recall(of_images, k) for k in RANKS}
    recalls |= {f"image_recall{k}": average_recall(of_texts, k) for k in RANKS}
    return {**recalls, "test_images": len(images), "test_captions": len(texts)}


def cut(features: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield up to ``ROWS`` features at a time, with the index of the first."""
    for first in range(0, len(features), ROWS):
        yield first, features[first : first + ROWS]


class Counts(NamedTuple):
    """Wrong answers to B questions that are better than the right one, and as good."""

    better: Tensor  # [B]
    equal: Tensor  # [B]


def average_recall(parts: Sequence[Counts], k: int) -> Metric:
    """Return the share of questions whose right answer is among the best ``k``."""
    hits = torch.cat([((k - part.better) / (part.equal + 1)).clamp(0, 1) for part in parts])
    return Metric(float(hits.mean()), "share")


def count_images(texts: Tensor, images: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each text how many images are better than its own, and as good: [B] each."""
    cosines = texts @ images.T  # [B, N]
    right = cosines.gather(1, owners[:, None])
    return (cosines > right).sum(1), (cosines == right).sum(1) - 1


def count_texts(images: Tensor, first: int, texts: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each image how many texts of others are better than the best of its own, and as good: [B] each."""
    cosines = images @ texts.T  # [B, T]
    own = owners[None] == torch.arange(first, first + len(images))[:, None]
    right = cosines.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
    return ((cosines > right) & ~own).sum(1), ((cosines == right) & ~own).sum(1)
