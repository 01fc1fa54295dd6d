"""Data sets that need no download: drawn shapes, and scanned digits (digits_license.txt says whose)."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vitrun import recipes
from vitrun.data.sources.facts import Facts
from vitrun.data.sources.shape_captions import describe_object
from vitrun.data.split import Split
from vitrun.runtime import random
from vitrun.runtime.console import Screen

DIGITS_FILE = Path(__file__).with_name("digits.csv.gz")
COLOURS = {
    "red": (220, 40, 40), "orange": (240, 150, 30), "yellow": (235, 220, 50), "green": (50, 170, 70),
    "cyan": (50, 190, 200), "blue": (50, 80, 210), "purple": (140, 60, 180), "white": (240, 240, 240),
}  # fmt: skip
MAX_OBJECTS = 5  # objects in an image if their count is the label
ORIENTATIONS = 8
GRID_CELLS = 3  # positions are the cells of a grid of 3 by 3
NUMBERS_PER_IMAGE = 16 + 3 * MAX_OBJECTS  # random numbers


def box_distance(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """Return the signed distance to a box around the origin, negative inside."""
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def star_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return about the signed distance to a star of five points."""
    radius, angle = np.hypot(x, y), np.arctan2(x, -y)
    wave = np.abs((angle * 5 / (2 * np.pi)) % 1 - 0.5) * 2  # 1 at a point, 0 between two
    return (radius - (0.42 + 0.58 * wave)) * 0.7


def band_distance(x: np.ndarray, y: np.ndarray, slope: float, half_width: float) -> np.ndarray:
    """Return the signed distance to an infinite band along ``y = slope * x``."""
    return np.abs(y - slope * x) / np.hypot(1, slope) - half_width


def circle_distance(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Return the signed distance to a circular line around the origin."""
    return np.abs(np.hypot(x, y) - radius) - 0.17


def make_scribble(number: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function for about the signed distance to a random line through four points, seeded by ``number``."""
    turns, radii = random.uniform(0, "scribble", 0, np.array([number]), 8).reshape(2, 4)
    points = np.stack([np.cos(turns * 2 * np.pi), np.sin(turns * 2 * np.pi)], 1) * (0.45 + 0.45 * radii[:, None])

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.min([segment_distance(x, y, *ends) for ends in zip(points, points[1:])], axis=0) - 0.17

    return distance


def segment_distance(x: np.ndarray, y: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the distance to the segment between two points."""
    (dx, dy), x, y = last - first, x - first[0], y - first[1]
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - along * dx, y - along * dy)


# About the signed distance to each shape of radius 1, negative inside; y points down.
SHAPES = {
    "disc": lambda x, y: np.hypot(x, y) - 0.85,
    "ring": lambda x, y: circle_distance(x, y, 0.75),
    "square": lambda x, y: box_distance(x, y, 0.75, 0.75),
    "frame": lambda x, y: np.abs(box_distance(x, y, 0.65, 0.65)) - 0.16,
    "triangle": lambda x, y: np.maximum(y - 0.6, np.abs(x) * 0.87 - y * 0.5 - 0.45),
    "star": star_distance,
    "plus": lambda x, y: np.minimum(box_distance(x, y, 0.9, 0.2), box_distance(x, y, 0.2, 0.9)),
    "bar": lambda x, y: box_distance(x, y, 0.2, 0.95),
    "arc": lambda x, y: np.maximum(circle_distance(x, y, 0.75), y - 0.1),
    "corner": lambda x, y: np.minimum(box_distance(x + 0.6, y, 0.2, 0.9), box_distance(x, y - 0.7, 0.8, 0.2)),
    "tee": lambda x, y: np.minimum(box_distance(x, y + 0.65, 0.85, 0.2), box_distance(x, y, 0.2, 0.85)),
    "arrow": lambda x, y: np.minimum(
        box_distance(x, y - 0.3, 0.18, 0.65), np.maximum(y + 0.1, np.abs(x) * 0.8 - y * 0.6 - 0.6)
    ),
    "vee": lambda x, y: np.maximum(band_distance(np.abs(x), 0.8 - y, 1.9, 0.18), np.abs(y) - 0.8),
    "aitch": lambda x, y: np.minimum(box_distance(np.abs(x) - 0.55, y, 0.17, 0.85), box_distance(x, y, 0.55, 0.16)),
    "zed": lambda x, y: np.minimum(
        box_distance(x, np.abs(y) - 0.7, 0.7, 0.17), np.maximum(band_distance(x, y, -1.0, 0.17), np.abs(y) - 0.7)
    ),
    "ess": lambda x, y: np.minimum(
        np.maximum(circle_distance(x, y + 0.42, 0.42), np.minimum(x, y + 0.42)),
        np.maximum(circle_distance(x, y - 0.42, 0.42), np.minimum(-x, 0.42 - y)),
    ),
    "eight": lambda x, y: circle_distance(x, np.abs(y) - 0.44, 0.42),
    "hook": lambda x, y: np.minimum(
        box_distance(x - 0.4, y + 0.3, 0.17, 0.65), np.maximum(circle_distance(x, y - 0.35, 0.4), 0.35 - y)
    ),
    "gate": lambda x, y: np.minimum(
        box_distance(x, y + 0.7, 0.72, 0.17), box_distance(np.abs(x) - 0.55, y, 0.17, 0.85)
    ),
    "cup": lambda x, y: np.minimum(
        box_distance(np.abs(x) - 0.6, y + 0.35, 0.17, 0.5), np.maximum(circle_distance(x, y - 0.1, 0.6), 0.1 - y)
    ),
}
SHAPES |= {f"scribble {n}": make_scribble(n) for n in range(1, 101)}
# Shapes without rotational symmetry
ORIENTED_SHAPES = ("triangle", "arc", "corner", "tee", "arrow", "vee", "gate", "cup")


def target_classes(target: str) -> tuple[str, ...]:
    """Return the class names of a ``data.target``."""
    return {
        "shape": tuple(SHAPES),
        "colour": tuple(COLOURS),
        "count": tuple(str(n + 1) for n in range(MAX_OBJECTS)),
        "position": tuple(f"row {r} column {c}" for r in range(GRID_CELLS) for c in range(GRID_CELLS)),
        "orientation": tuple(f"{360 * turn // ORIENTATIONS} degrees" for turn in range(ORIENTATIONS)),
    }[target]


class Drawn(NamedTuple):
    """What N images show."""

    kind: np.ndarray  # [N] int, index of the shape
    colour: np.ndarray  # [N] int, index of the colour
    objects: np.ndarray  # [N] int, how many there are
    cell: np.ndarray  # [N] int, cell of the grid, row by row
    turn: np.ndarray  # [N] int, in steps of 45 degrees


def open_shapes(data: recipes.Shapes, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of the drawn images; each is a function of its part, number and size alone."""
    number = data.train_images if part == "train" else data.test_images
    names, label = target_classes(data.target), np.empty(number, dtype=np.int64)
    pixels = np.empty((number, 3, data.size, data.size), dtype=np.uint8)
    for first in range(0, number, 500):
        indices = np.arange(first, min(first + 500, number))
        pixels[indices], label[indices] = draw_images(data.target, part, indices, data.size)
    keys = [f"{part}-{i:07d}-{data.target}-{data.size}" for i in range(number)]
    captions = make_caption_reader(data.target, part, number, data.size)
    return Split(keys, label, names, pixels=torch.from_numpy(pixels), read_captions=captions)


def make_caption_reader(target: str, part: str, number: int, size: int) -> Callable[[int], tuple[str, ...]]:
    """Return a function that reads the captions of an image; what images show is drawn at its first call."""

    @cache
    def draw() -> Drawn:
        return choose_objects(target, draw_numbers(part, np.arange(number), size))

    def read_captions(index: int) -> tuple[str, ...]:
        drawn = draw()
        names = ([*SHAPES][drawn.kind[index]], [*COLOURS][drawn.colour[index]])
        return describe_object(target, *names, *(int(values[index]) for values in drawn[2:]))

    return read_captions


def shapes_facts(data: recipes.Shapes) -> Facts:
    """Return the number of classes and images."""
    return Facts(len(target_classes(data.target)), data.train_images, data.test_images)


def draw_numbers(part: str, indices: np.ndarray, size: int) -> np.ndarray:
    """Return the random numbers of images, float32 [B, 31] in [0, 1)."""
    u = random.uniform(0, f"shapes-{part}", size, indices, NUMBERS_PER_IMAGE).astype(np.float32)
    return np.minimum(u, np.nextafter(np.float32(1), np.float32(0)))  # rounding to float32 may have made it 1


def choose_objects(target: str, u: np.ndarray) -> Drawn:
    """Return what images show, by their random numbers ``u`` [B, 31]."""
    choices = [list(SHAPES).index(name) for name in (ORIENTED_SHAPES if target == "orientation" else SHAPES)]
    return Drawn(
        kind=np.array(choices)[(u[:, 0] * len(choices)).astype(int)],
        colour=(u[:, 1] * len(COLOURS)).astype(int),
        objects=1 + (u[:, 2] * MAX_OBJECTS).astype(int) if target == "count" else np.ones(len(u), int),
        cell=(u[:, 3] * GRID_CELLS**2).astype(int),
        turn=(u[:, 4] * ORIENTATIONS).astype(int),
    )


def draw_images(target: str, part: str, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 [B, 3, S, S], and labels [B]: one object on a noisy background, or several to be counted."""
    u = draw_numbers(part, indices, size)
    kind, colour, count, cell, turn = choose_objects(target, u)
    spread = 2 * np.pi / ORIENTATIONS
    angle = turn * spread + (u[:, 5] - 0.5) * spread * 0.6 if target == "orientation" else (u[:, 5] - 0.5) * np.pi / 4
    ink = np.array(list(COLOURS.values()), np.float32)[colour] + (u[:, 6:9] - 0.5) * 40  # [B, 3]
    ground = u[:, 9:12] * 60

    cover = np.zeros((len(indices), size, size), np.float32)
    places = np.argsort(u[:, 16 : 16 + GRID_CELLS**2], axis=1)  # [B, 9] distinct cells for counted objects
    for n in range(count.max()):
        here = count > n
        radius = 0.34 + 0.1 * u[:, 12]
        if target in ("position", "count"):
            radius = np.full_like(radius, 0.15)
            at = cell if target == "position" else places[:, n]
            centre = (np.stack([at % GRID_CELLS, at // GRID_CELLS], 1) + 0.5) / GRID_CELLS + (u[:, 13:15] - 0.5) * 0.06
        else:
            centre = 0.5 + (u[:, 13:15] - 0.5) * (0.9 - 2 * radius)[:, None]
        cover[here] = np.maximum(
            cover[here], render_coverage(kind[here], centre[here], radius[here], angle[here], size)
        )
    noise = (
        random.make_generator(0, f"shapes-noise-{part}", size, int(indices[0]))
        .normal(0, 8, cover.shape)
        .astype(np.float32)
    )
    images = ground[:, :, None, None] * (1 - cover[:, None]) + ink[:, :, None, None] * cover[:, None] + noise[:, None]
    label = {"shape": kind, "colour": colour, "count": count - 1, "position": cell, "orientation": turn}[target]
    return np.clip(images, 0, 255).astype(np.uint8), label


def render_coverage(
    kind: np.ndarray, centre: np.ndarray, radius: np.ndarray, angle: np.ndarray, size: int
) -> np.ndarray:
    """Return the coverage in [0, 1] of one object per image, with edges one pixel soft: [B, S, S]."""
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    x = (grid[None, None, :] - centre[:, 0, None, None].astype(np.float32)) / radius[:, None, None]
    y = (grid[None, :, None] - centre[:, 1, None, None].astype(np.float32)) / radius[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x, y = x * cos + y * sin, y * cos - x * sin
    distance = np.empty(x.shape, np.float32)
    for number, inside in enumerate(SHAPES.values()):
        distance[kind == number] = inside(x[kind == number], y[kind == number])
    return np.clip(0.5 - distance * (radius * size)[:, None, None], 0, 1)


def open_digits(data: recipes.Digits, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of the digits: the last ``test_images`` of a fixed shuffle are the test part."""
    # [1797, 65]: the pixels, 0..16 as scanned; the digit
    table = np.loadtxt(DIGITS_FILE, dtype=np.uint8, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    order = np.random.default_rng(0).permutation(len(table))
    first = len(order) - data.test_images
    chosen = np.sort(order[:first] if part == "train" else order[first:])
    grey = np.rint(images[chosen] * (255 / 16)).astype(np.uint8)
    pixels = torch.from_numpy(grey)[:, None].repeat(1, 3, 1, 1)
    keys = [f"digit-{i:04d}" for i in chosen]
    return Split(keys, labels[chosen].astype(np.int64), tuple("0123456789"), pixels=pixels)


def digits_facts(data: recipes.Digits) -> Facts:
    """Return the number of classes and images."""
    return Facts(10, recipes.DIGITS_IMAGES - data.test_images, data.test_images)
