"""Images of several drawn shapes with their boxes, which need no download."""

from collections.abc import Callable

import numpy as np
import torch

from vitrun import recipes
from vitrun.data.boxes import BoxTable
from vitrun.data.sources.facts import Facts
from vitrun.data.sources.synthetic import COLOURS, SHAPES, render_coverage
from vitrun.data.split import Split
from vitrun.runtime import random
from vitrun.runtime.console import Screen

RADII = (0.13, 0.22)  # of objects, as a share of the image's side
TRIES = 8  # positions to try for an object before it is left out
GAP = 0.8  # between the centers of two objects, as a share of the sum of their radii
NUMBERS_PER_OBJECT = 6 + 2 * TRIES  # random numbers: kind, colour, radius, angle, shade twice, positions
CHUNK = 500  # images that are drawn together


def open_boxes(data: recipes.DrawnBoxes, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of the drawn images; each is a function of its part, its number and the options of the drawing."""
    number = data.train_images if part == "train" else data.test_images
    pixels = np.empty((number, 3, data.size, data.size), np.uint8)
    chunks = []
    for first in range(0, number, CHUNK):
        tick()
        indices = np.arange(first, min(first + CHUNK, number))
        pixels[indices], *objects = draw_scenes(data, part, indices)
        chunks.append(objects)
    counts, corners, labels, areas = map(np.concatenate, zip(*chunks))
    names = class_names(data)
    table = BoxTable(
        starts=np.concatenate([[0], counts.cumsum()]),
        corners=corners,
        labels=labels,
        crowd=np.zeros(len(labels), bool),
        areas=areas,
        sizes=np.full((number, 2), data.size),
        image_ids=np.arange(1, number + 1),
        category_ids=np.arange(1, len(names) + 1),
    )
    keys = [f"{part}-{i:07d}-boxes-{data.target}-{data.kinds}-{data.objects}-{data.size}" for i in range(number)]
    return Split(keys, table.image_labels(), names, pixels=torch.from_numpy(pixels), boxes=table)


def boxes_facts(data: recipes.DrawnBoxes) -> Facts:
    """Return the number of classes and images."""
    return Facts(len(class_names(data)), data.train_images, data.test_images)


def class_names(data: recipes.DrawnBoxes) -> tuple[str, ...]:
    """Return the names of the classes of boxes."""
    return tuple(SHAPES)[: data.kinds] if data.target == "shape" else tuple(COLOURS)


def draw_scenes(data: recipes.DrawnBoxes, part: str, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return images uint8 [B, 3, S, S], their numbers of objects [B], and corners [T, 4], labels and areas [T]."""
    size, count = data.size, len(indices)
    u = random.uniform(0, f"boxes-{part}-{data.objects}", size, indices, 4 + data.objects * NUMBERS_PER_OBJECT)
    of_image, of_object = u[:, :4], u[:, 4:].reshape(count, data.objects, NUMBERS_PER_OBJECT)
    radius = RADII[0] + of_object[..., 2] * (RADII[1] - RADII[0])  # [B, K]
    wanted = np.arange(data.objects) <= (of_image[:, :1] * data.objects).astype(int)  # [B, K]
    center, is_there = place_objects(of_object[..., 6:].reshape(count, data.objects, TRIES, 2), radius, wanted)
    kind, colour = (of_object[..., :2] * [data.kinds, len(COLOURS)]).astype(int).transpose(2, 0, 1)
    angle = (of_object[..., 3] - 0.5) * np.pi / 4
    shade = (of_object[..., [3, 4, 5]] - 0.5) * 40
    ink = np.array(list(COLOURS.values()), np.float32)[colour] + shade  # [B, K, 3]
    noise = random.make_generator(0, f"boxes-noise-{part}", size, int(indices[0])).normal(0, 8, (count, 1, size, size))
    images = np.broadcast_to((of_image[:, 1:] * 60)[:, :, None, None], (count, 3, size, size)).astype(np.float32)
    corners, areas = np.zeros((count, data.objects, 4)), np.zeros((count, data.objects))
    for number in range(data.objects):
        here = is_there[:, number]
        shape = (kind[here, number], center[here, number], radius[here, number], angle[here, number])
        cover = render_coverage(*shape, size)[:, None]  # [b, 1, S, S]
        images[here] += cover * (ink[here, number][:, :, None, None] - images[here])
        corners[here, number], areas[here, number] = measure_objects(cover[:, 0] > 0.5)
    pixels = np.clip(images + noise, 0, 255).astype(np.uint8)
    label = kind if data.target == "shape" else colour
    return pixels, is_there.sum(1), corners[is_there], label[is_there], areas[is_there]


def place_objects(places: np.ndarray, radius: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centers of objects [B, K, 2], relative to the image, and which of those ``wanted`` [B, K] fit.

    An object gets the first of its ``places`` [B, K, TRIES, 2] that is far enough from the objects before it.
    """
    center, is_there = np.zeros((*radius.shape, 2)), np.zeros_like(wanted)
    for number in range(radius.shape[1]):
        side = 1 - 2 * radius[:, number, None, None]
        tried = radius[:, number, None, None] + places[:, number] * side  # [B, TRIES, 2]
        gap = GAP * (radius[:, number, None] + radius[:, :number])  # [B, number]
        distance = np.linalg.norm(tried[:, :, None] - center[:, None, :number], axis=3)  # [B, TRIES, number]
        free = ((distance >= gap[:, None]) | ~is_there[:, None, :number]).all(2)
        center[:, number] = tried[np.arange(len(tried)), free.argmax(1)]
        is_there[:, number] = wanted[:, number] & free.any(1)
    return center, is_there


def measure_objects(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners [B, 4] and the number of pixels [B] of objects by their masks [B, S, S]."""
    columns, rows = np.asarray(masks.any(1)), np.asarray(masks.any(2))  # [B, S]
    first = [lines.argmax(1) for lines in (columns, rows)]
    last = [lines.shape[1] - lines[:, ::-1].argmax(1) for lines in (columns, rows)]
    return np.stack([*first, *last], 1).astype(float), masks.sum((1, 2)).astype(float)
