"""The colours that an ImageGPT reads: k-means of the pixels of training images (Chen et al. 2020, section 3.2).

The number of pixels and the initialization of the published colours are not known; those here are our choice.
"""

import warnings
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from vitrun import data
from vitrun.data.split import PLACEHOLDER
from vitrun.data.transforms.views import CenterCropView
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import View
from vitrun.runtime import distributed
from vitrun.runtime.random import make_generator
from vitrun.runtime.user_cache import load_values, store_values

MAX_IMAGES, PIXELS_EACH = 4096, 256  # of which colours are computed: about a million pixels
BATCH = 256
CACHE_FILE = "palettes.json"


def load_palette(train: data.Split, view: View, res: int, number: int) -> Tensor | None:
    """Return ``number`` colours of training images, [K, 3] in [-1, 1]; None if the images cannot be read in a dry run.

    They are read from the user's cache if these colours were computed before. Raise UserError if scikit-learn is not
    installed.
    """
    if train.index_fingerprint == PLACEHOLDER:
        return None

    def compute() -> list[list[float]]:
        key = repr((train.fingerprint, res, number, asdict(view)))
        if key not in (values := load_values(CACHE_FILE)):
            values = {key: fit_colours(draw_pixels(train, view, res), number).tolist()}
            store_values(CACHE_FILE, values)
        colours: list[list[float]] = values[key]
        return colours

    return torch.tensor(distributed.call_on_rank_zero(compute))


def draw_pixels(train: data.Split, view: View, res: int) -> np.ndarray:
    """Return pixels of training images that are drawn from a fixed seed, [N, 3] in [-1, 1]."""
    generator = make_generator(0, "palette")
    images = min(MAX_IMAGES, len(train))
    chosen = train.select(np.sort(generator.choice(len(train), images, replace=False)))
    square, pixels = CenterCropView(res, **asdict(view)), []
    if chosen.pixels is not None:
        batches = data.test_batches(chosen, square, BATCH)
    else:  # training reports the images that cannot be read
        batches = data.readable_batches(chosen, square, BATCH, lambda row, error: None)
    for batch in batches:
        flat = batch.images.flatten(2).transpose(1, 2).numpy()  # [B, R*R, 3]
        columns = generator.integers(0, flat.shape[1], (len(flat), min(PIXELS_EACH, flat.shape[1])))
        pixels.append(np.take_along_axis(flat, columns[:, :, None], 1).reshape(-1, 3))
    return np.concatenate(pixels)


def fit_colours(pixels: np.ndarray, number: int) -> np.ndarray:
    """Return the centres of k-means, float32 [K, 3]; they repeat if there are fewer colours than ``number``."""
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError:
        why = "needs scikit-learn: install it with pip install 'vitrun[igpt]', or set objective.palette=even."
        raise UserError(why, ExitCode.COMMAND, "objective.palette", "kmeans") from None
    distinct = np.unique(pixels, axis=0)
    if len(distinct) <= number:
        return np.resize(distinct, (number, 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about clusters that stay empty
        means = MiniBatchKMeans(number, random_state=0, n_init=1, batch_size=8192, max_iter=20).fit(pixels)
    return means.cluster_centers_.astype(np.float32)
