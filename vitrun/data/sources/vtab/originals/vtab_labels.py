"""VTAB's labels from the facts that the originals hold: plain formulas on arrays, each with its source.

TA is google-research/task_adaptation at d7630d3; comparisons are in float32, as TensorFlow makes them there.
"""

from collections.abc import Iterable

import numpy as np

BINS = 16  # that VTAB makes of each dSprites factor
DSPRITES_FACTOR_SIZES = (
    3,
    6,
    40,
    32,
    32,
)  # shapes, scales, orientations, x and y of deepmind/dsprites-dataset, y fastest
CLEVR_COUNTS = tuple(f"{number} objects" for number in range(3, 11))
CLEVR_EDGES = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
CLEVR_DISTANCES = ("up to 8", "up to 8.5", "up to 9", "up to 9.5", "up to 10", "beyond 10")
KITTI_VEHICLES = ("Car", "Van", "Truck")
KITTI_NO_VEHICLE = 1000.0  # metres, where an image has no vehicle
KITTI_EDGES = (-100.0, 8.0, 20.0, 999.0)
KITTI_DISTANCES = ("up to 8 m", "up to 20 m", "beyond 20 m", "no vehicle")
DSPRITES_BINS = tuple(f"bin {number}" for number in range(BINS))
AZIMUTHS = tuple(f"{20 * number} degrees" for number in range(18))
ELEVATIONS = tuple(f"{30 + 5 * number} degrees" for number in range(9))


def last_edge_below(values: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    """The index of the largest edge that is strictly below each value, in float32: [N] -> [N] int64."""
    edges32 = np.asarray(edges, dtype=np.float32)
    return np.searchsorted(edges32, np.asarray(values, dtype=np.float32), side="left").astype(np.int64) - 1


def clevr_count(objects: np.ndarray) -> np.ndarray:
    """Classes 0 to 7 of 3 to 10 objects an image: [N] -> [N] (TA data/clevr.py, count_all)."""
    return np.asarray(objects, dtype=np.int64) - 3


def clevr_distance(depths: Iterable[Iterable[float]]) -> np.ndarray:
    """Classes 0 to 5 of the nearest object, of the third ``pixel_coords`` of all objects of each image: N lists -> [N].

    TA data/clevr.py, closest_object_distance.
    """
    return last_edge_below(np.array([min(image) for image in depths]), CLEVR_EDGES)


def kitti_distance(depths: Iterable[Iterable[float]]) -> np.ndarray:
    """Classes 0 to 3 of the nearest vehicle, of ``location`` z in metres of each image's vehicles: N lists -> [N].

    Vehicles are the objects of a type in ``KITTI_VEHICLES``; an image may have none. TA data/kitti.py.
    """
    return last_edge_below(np.array([min([*image, KITTI_NO_VEHICLE]) for image in depths]), KITTI_EDGES)


def dsprites_factors(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """The classes of shape, scale, orientation, x and y of the images at ``rows`` of the archive: [N] -> 5 of [N]."""
    return np.unravel_index(np.asarray(rows, dtype=np.int64), DSPRITES_FACTOR_SIZES)


def dsprites_orientation(rows: np.ndarray) -> np.ndarray:
    """16 bins of 40 orientations, by three and two: [N] rows -> [N] (TA data/dsprites.py: floor of class / 2.5)."""
    return dsprites_factors(rows)[2] * BINS // DSPRITES_FACTOR_SIZES[2]


def dsprites_x_position(rows: np.ndarray) -> np.ndarray:
    """16 bins of 32 x positions, two in each: [N] rows -> [N] (TA data/dsprites.py: floor of class / 2)."""
    return dsprites_factors(rows)[3] * BINS // DSPRITES_FACTOR_SIZES[3]


def smallnorb_elevation(info: np.ndarray) -> np.ndarray:
    """Classes 0 to 8 of the second column of ``info``: [N, 4] -> [N] (tfds image_classification/smallnorb.py)."""
    return np.asarray(info, dtype=np.int64)[:, 1]


def smallnorb_azimuth(info: np.ndarray) -> np.ndarray:
    """Classes 0 to 17 of the third column, 0, 2 ... 34: [N, 4] -> [N] (tfds image_classification/smallnorb.py)."""
    return np.asarray(info, dtype=np.int64)[:, 2] // 2


def svhn_digit(digits: np.ndarray) -> np.ndarray:
    """Classes 0 to 9 of ``y``, where 10 stands for the digit 0: [N] (tfds image_classification/svhn.py)."""
    return np.asarray(digits, dtype=np.int64).reshape(-1) % 10


def zero_based(numbers: np.ndarray) -> np.ndarray:
    """Classes from 0 of classes counted from 1, as Pets and Flowers count them: [N] (tfds, the builders of both)."""
    return np.asarray(numbers, dtype=np.int64).reshape(-1) - 1
