"""A folder of VTAB's originals."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from vitrun.data.sources.vtab.keys import published_keys
from vitrun.data.tfds_order import tfds_order


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """Return a folder with all of Flowers102 and EuroSAT, one colour per class; the other originals are missing."""
    root = tmp_path_factory.mktemp("originals")
    colours = []
    for label in range(102):
        colours.append(root / f"{label}.jpg")
        Image.new("RGB", (8, 8), (label, 2 * label, 255 - label)).save(colours[-1], quality=95)
    flowers = root / "oxford_flowers102"
    (flowers / "jpg").mkdir(parents=True)
    order = np.random.default_rng(0).permutation(np.arange(1, 8190, dtype=np.uint16))
    labels = flower_labels(order)
    for n, label in enumerate(labels, 1):
        os.link(colours[label], flowers / "jpg" / f"image_{n:05d}.jpg")
    savemat(flowers / "imagelabels.mat", {"labels": (labels + 1).astype(np.uint8)[None]})
    savemat(
        flowers / "setid.mat",
        {"trnid": order[None, :1020], "valid": order[None, 1020:2040], "tstid": order[None, 2040:]},
    )
    for key in published_keys("eurosat", "train"):
        name, _, file = key.partition("_")
        (root / "eurosat" / "2750" / name).mkdir(parents=True, exist_ok=True)
        os.link(colours[0], root / "eurosat" / "2750" / name / file)
    return root


def flower_labels(order: np.ndarray) -> np.ndarray:
    """Return the labels of the flowers 1, 2 ...; val200 has 90 classes, as in the published partition."""
    labels = np.arange(8189) % 102
    validation = order[1020:2040]
    val200 = validation[tfds_order([f"image_{n:05d}.jpg" for n in validation], "validation")[:200]]
    labels[val200 - 1] = np.arange(200) % 90
    return labels
