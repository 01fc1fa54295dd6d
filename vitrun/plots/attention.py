"""Figures of a vision transformer: 6, 7, 10, 11 and 14 of arXiv 2010.11929."""

from collections.abc import Sequence

import matplotlib.cm
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vitrun.plots.chart import Chart
from vitrun.plots.mosaic import color_values, enlarge, resize_pixels, resize_smoothly, show_tiles, with_alpha
from vitrun.plots.style import MUTED, PALETTE, SEQUENTIAL, create_axes, styled

TILE = 96  # pixels of a side of small images, at least
FILTER_COLUMNS = 7  # as in figure 7
PAIR_COLUMNS = 4  # pairs of an image and what the network sees of it, side by side
LEAST_SPREAD = 1e-5  # of the largest value: a rollout that varies less is the same everywhere, up to rounding
NAME_LETTERS = 16  # of an image below its picture


def draw_rollouts(images: np.ndarray, rollouts: np.ndarray, names: Sequence[str]) -> Chart:
    """Draw each image [S, R, R, 3] uint8 beside what of it the output reads, by rollouts [S, G, G] (figure 6)."""
    side = max(images.shape[1], 2 * TILE)
    patch = side / rollouts.shape[1]
    pairs = []
    for image, rollout in zip(images, rollouts):
        pixels = resize_pixels(image, side)
        shown = np.rint(pixels * rollout_alpha(rollout, side, patch)[:, :, None]).astype(np.uint8)
        pairs.append(np.concatenate([pixels, shown], 1))
    columns = min(PAIR_COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    with styled():
        figure = Figure(figsize=(3.2 * columns, 1.75 * rows))
        for index, (pair, name) in enumerate(zip(pairs, names)):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.imshow(pair)
            axes.set_title(shorten_name(name, 2 * NAME_LETTERS), fontsize=8)
            axes.set_axis_off()
    note = (
        "Left the image as the network sees it, right the same, as bright as attention from the output to the input "
        "(attention rollout, figure 6 of arXiv 2010.11929): black is the least, full brightness the most of an image."
    )
    columns_of_data = ("image", "row (patch)", "column (patch)", "attention (share)")
    return Chart("rollout", "Attention rollout", figure, columns_of_data, list_cells(rollouts, [names]), note)


def rollout_alpha(rollout: np.ndarray, side: int, patch: float) -> np.ndarray:
    """Return the brightness, 0 to 1, of each pixel [side, side] for a rollout [G, G], as the authors draw it.

    Resized by Lanczos' filter and blurred by the side of a ``patch``, in pixels (github.com/google-research/
    vision_transformer, issue 27).
    """
    border = int(np.ceil(3 * patch))
    values = resize_smoothly(rollout / max(rollout.max(), np.finfo(float).tiny), side)
    values = np.pad(values, border, mode="edge")
    offsets = np.arange(side)[:, None] + border - np.arange(side + 2 * border)
    kernel = np.exp(-0.5 * np.square(offsets / patch))
    kernel /= kernel.sum(1, keepdims=True)
    blurred = kernel @ values @ kernel.T
    spread = np.ptp(blurred)
    return (blurred - blurred.min()) / spread if spread > LEAST_SPREAD else np.ones_like(blurred)


def draw_layers(images: np.ndarray, maps: np.ndarray, names: Sequence[str], layers: Sequence[int]) -> Chart:
    """Draw images [S, R, R, 3] as rows, and beside each the maps [S, L, G, G] of its layers, mean over heads."""
    tiles = enlarge(color_values(maps, 0, maps.max((2, 3), keepdims=True)), TILE)
    side = tiles.shape[2]
    shown = np.stack([with_alpha(resize_pixels(image, side)) for image in images])
    tiles = np.concatenate([shown[:, None], tiles], 1)
    labels = ["image", *map(str, layers)]
    with styled():
        figure, axes = create_map_axes(tiles.shape[:2], "layer", "image")
        show_tiles(axes, tiles, side // 16, [shorten_name(name) for name in names], labels)
    rows = list_cells(maps, [names, layers])
    columns = ("image", "layer", "row (patch)", "column (patch)", "attention (share)")
    return Chart("attention_layers", "Attention by layer", figure, columns, rows, MAPS_NOTE)


def draw_heads(maps: np.ndarray, name: str, layers: Sequence[int], number: int) -> Chart:
    """Draw the maps [L, H, G, G] of one image, the ``number``-th: layers as rows, heads as columns."""
    tiles = enlarge(color_values(maps, 0, maps.max((2, 3), keepdims=True)), TILE)
    heads = range(1, maps.shape[1] + 1)
    with styled():
        figure, axes = create_map_axes(tiles.shape[:2], "head", "layer")
        show_tiles(axes, tiles, tiles.shape[2] // 16, [*map(str, layers)], [*map(str, heads)])
    columns = ("layer", "head", "row (patch)", "column (patch)", "attention (share)")
    title = f"Attention by layer and head, image {number}: {name}"
    return Chart(f"attention_heads_{number}", title, figure, columns, list_cells(maps, [layers, heads]), MAPS_NOTE)


MAPS_NOTE = (
    "Attention of the class token (without one, the mean of all patches) to each patch, in each layer. The brightest "
    "patch of a map is its largest value: the data have the values."
)


def create_map_axes(shape: tuple[int, ...], xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return a figure and axes for ``shape`` rows and columns of maps, with a bar of their colours."""
    rows, columns = shape
    side = min(0.9, 12 / columns)  # inches
    figure, axes = create_axes(xlabel, ylabel, (max(4.0, side * columns + 2.2), max(2.6, side * rows + 0.9)))
    add_color_bar(figure, axes, 0, 1, "attention relative to the maximum")
    return figure, axes


def draw_distances(distances: np.ndarray, uniform: float, images: int) -> Chart:
    """Draw the mean attention distance in pixels of each head, [L, H], by layer (figures 7 right and 11)."""
    layers, heads = distances.shape
    with styled():
        figure, axes = create_axes("layer", "mean attention distance (px)")
        x = np.repeat(np.arange(1, layers + 1), heads)
        axes.scatter(x, distances.ravel(), s=18, alpha=0.75, color=PALETTE[0], linewidths=0, label="one head")
        axes.plot(range(1, layers + 1), distances.mean(1), color=PALETTE[1], label="mean over heads")
        axes.axhline(uniform, color=MUTED, linestyle="--", label="attention to all patches alike")
        axes.set_ylim(0, max(1.05 * distances.max(), 1.1 * uniform))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best")
    rows = tuple((int(i) + 1, int(h) + 1, float(distances[i, h])) for i, h in np.ndindex(layers, heads))
    note = (
        f"Distance between a patch and those that it attends to, weighted by attention, mean over {images} images; "
        "attention to tokens that are not patches is left out (figure 7, right, of arXiv 2010.11929)."
    )
    columns = ("layer", "head", "mean attention distance (px)")
    return Chart("attention_distance", "Mean attention distance", figure, columns, rows, note)


def draw_filters(filters: np.ndarray, explained: np.ndarray) -> Chart:
    """Draw filters [K, 3, P, P] as images, each with its values from the least to the largest (figure 7, left)."""
    number, channels, height, width = filters.shape
    low, high = filters.min((1, 2, 3), keepdims=True), filters.max((1, 2, 3), keepdims=True)
    pixels = np.rint(255 * (filters - low) / np.maximum(high - low, np.finfo(float).tiny)).astype(np.uint8)
    columns = min(FILTER_COLUMNS, number)
    rows = -(-number // columns)
    tiles = np.zeros((rows * columns, height, width, 4), np.uint8)
    tiles[:number] = with_alpha(pixels.transpose(0, 2, 3, 1))
    tiles = enlarge(tiles, TILE).reshape(rows, columns, *enlarge(tiles, TILE).shape[1:])
    with styled():
        figure, axes = create_axes("", "component", (0.85 * columns + 0.5, 0.85 * rows + 0.2))
        labels = [f"{row * columns + 1} to {min(number, (row + 1) * columns)}" for row in range(rows)]
        show_tiles(axes, tiles, tiles.shape[2] // 12, labels, [])
    note = (
        f"The first {number} principal components of the filters that embed patches of {height} by {width} pixels "
        f"({explained.sum():.0%} of their variance), in rows; colours from the least to the largest value of each "
        "(figure 7, left, of arXiv 2010.11929)."
    )
    table = tuple(
        (k + 1, round(float(explained[k]), 6), y, x, *(round(float(weight), 6) for weight in filters[k, :, y, x]))
        for k, y, x in np.ndindex(number, height, width)
    )
    names = ("component", "variance (share)", "row (px)", "column (px)", "red", "green", "blue")
    return Chart("filters", "Principal filters of the patch embedding", figure, names, table, note)


def draw_similarity(similarity: np.ndarray, places: Sequence[int]) -> Chart:
    """Draw the cosine similarity of positions [T, T, G, G], a tile for each of ``places`` (figure 7, centre)."""
    labels = [str(place + 1) for place in places]
    tiles, size = color_values(similarity, -1, 1), similarity.shape[2]
    with styled():
        figure, axes = create_axes("column of the patch", "row of the patch", (6.4, 5.4))
        gap = max(1, size // 10)
        show_tiles(axes, tiles, gap, labels, labels)
        add_color_bar(figure, axes, -1, 1, "cosine similarity")
    note = (
        "Each tile is the similarity of the position embedding of the patch in that row and column to those of all "
        "patches; the class token is left out (figure 7, centre, of arXiv 2010.11929)."
    )
    place_names = ("row of the tile", "column of the tile", "row (patch)", "column (patch)")
    rows = list_cells(similarity, [[place + 1 for place in places]] * 2)
    return Chart(
        "positions", "Similarity of position embeddings", figure, (*place_names, "cosine similarity"), rows, note
    )


def add_color_bar(figure: Figure, axes: Axes, low: float, high: float, label: str) -> None:
    """Add a bar of the sequential colours beside axes."""
    colors = matplotlib.cm.ScalarMappable(Normalize(low, high), SEQUENTIAL)
    bar = figure.colorbar(colors, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)


def list_cells(values: np.ndarray, names: Sequence[Sequence[object]]) -> tuple[tuple[object, ...], ...]:
    """Return a row for each value of [..., G, G]: its names along the first axes, its place from 1, the value."""
    rows = []
    for index in np.ndindex(*values.shape):
        *outer, y, x = index
        rows.append((*(axis[i] for axis, i in zip(names, outer)), y + 1, x + 1, round(float(values[index]), 6)))
    return tuple(rows)


def shorten_name(name: str, letters: int = NAME_LETTERS) -> str:
    """Return the last part of a path, its middle left out if it is long."""
    last = name.rpartition("/")[2]
    return last if len(last) <= letters else f"{last[: letters // 2 - 1]}…{last[-(letters // 2) :]}"
