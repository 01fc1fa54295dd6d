"""VTAB's labels, computed from the originals' annotations: formulas on arrays, each with its source.

TA is google-research/task_adaptation at d7630d3; comparisons are in float32, as with TensorFlow there.
"""

from collections.abc import Iterable, Sequence

import numpy as np

BINS = 16  # into which VTAB divides a factor of dSprites
# Shapes, scales, orientations, x and y of deepmind/dsprites-dataset, y fastest
DSPRITES_FACTOR_SIZES = (3, 6, 40, 32, 32)
CLEVR_COUNTS = tuple(f"{number} objects" for number in range(3, 11))
CLEVR_EDGES = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
CLEVR_DISTANCES = ("up to 8", "up to 8.5", "up to 9", "up to 9.5", "up to 10", "beyond 10")
KITTI_VEHICLES = ("Car", "Van", "Truck")
KITTI_NO_VEHICLE = 1000.0  # metres, for an image without a vehicle
KITTI_EDGES = (-100.0, 8.0, 20.0, 999.0)
KITTI_DISTANCES = ("up to 8 m", "up to 20 m", "beyond 20 m", "no vehicle")
DSPRITES_BINS = tuple(f"bin {number}" for number in range(BINS))
AZIMUTHS = tuple(f"{20 * number} degrees" for number in range(18))
ELEVATIONS = tuple(f"{30 + 5 * number} degrees" for number in range(9))


def last_edge_below(values: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    """Return the index of the largest edge strictly below each value, in float32: [N] -> [N] int64."""
    edges32 = np.asarray(edges, dtype=np.float32)
    return np.searchsorted(edges32, np.asarray(values, dtype=np.float32), side="left").astype(np.int64) - 1


def clevr_count(objects: Sequence[int]) -> np.ndarray:
    """Return classes 0 to 7 for 3 to 10 objects per image: [N] -> [N] (TA data/clevr.py, count_all)."""
    return np.asarray(objects, dtype=np.int64) - 3


def clevr_distance(depths: Iterable[Iterable[float]]) -> np.ndarray:
    """Return classes 0 to 5 of the nearest object's distance: N lists -> [N].

    A list holds the third of ``pixel_coords`` of each object of an image. TA data/clevr.py, closest_object_distance.
    """
    return last_edge_below(np.array([min(image) for image in depths]), CLEVR_EDGES)


def kitti_distance(depths: Iterable[Iterable[float]]) -> np.ndarray:
    """Return classes 0 to 3 of the nearest vehicle's distance: N lists -> [N] (TA data/kitti.py).

    A list holds ``location`` z, in metres, of the image's objects of a type in ``KITTI_VEHICLES``; it may be empty.
    """
    return last_edge_below(np.array([min([*image, KITTI_NO_VEHICLE]) for image in depths]), KITTI_EDGES)


def dsprites_factors(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the classes of shape, scale, orientation, x and y of the images at ``rows``: [N] -> 5 of [N]."""
    return np.unravel_index(np.asarray(rows, dtype=np.int64), DSPRITES_FACTOR_SIZES)


def dsprites_orientation(rows: np.ndarray) -> np.ndarray:
    """Return the bin of each orientation, 16 of 40: [N] rows -> [N] (TA data/dsprites.py: floor of class / 2.5)."""
    return dsprites_factors(rows)[2] * BINS // DSPRITES_FACTOR_SIZES[2]


def dsprites_x_position(rows: np.ndarray) -> np.ndarray:
    """Return the bin of each x position, 16 of 32: [N] rows -> [N] (TA data/dsprites.py: floor of class / 2)."""
    return dsprites_factors(rows)[3] * BINS // DSPRITES_FACTOR_SIZES[3]


def smallnorb_elevation(info: np.ndarray) -> np.ndarray:
    """Return the second column of ``info``, classes 0 to 8: [N, 4] -> [N] (tfds image_classification/smallnorb.py)."""
    return np.asarray(info, dtype=np.int64)[:, 1]


def smallnorb_azimuth(info: np.ndarray) -> np.ndarray:
    """Return classes 0 to 17 of the third column, halved: [N, 4] -> [N] (tfds image_classification/smallnorb.py)."""
    return np.asarray(info, dtype=np.int64)[:, 2] // 2


def svhn_digit(digits: np.ndarray) -> np.ndarray:
    """Return classes 0 to 9 of ``y``, in which 10 means the digit 0: [N] (tfds image_classification/svhn.py)."""
    return np.asarray(digits, dtype=np.int64).reshape(-1) % 10


def zero_based(numbers: np.ndarray) -> np.ndarray:
    """Return classes counted from 0 for those of Pets and Flowers, counted from 1: [N] (tfds, the builders of both)."""
    return np.asarray(numbers, dtype=np.int64).reshape(-1) - 1
