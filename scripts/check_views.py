"""Compare the crops and resizing of vitrun with those of TensorFlow, which vision_transformer and big_vision use.

    python scripts/check_views.py --python PYTHON_WITH_TENSORFLOW

Both draw the inception crop for images of several shapes. Heights, areas, aspect ratios and positions should have the
same distribution: the script prints the Kolmogorov-Smirnov distance of the two samples, and the limit that two samples
of one distribution rarely exceed. Then both resize one image, by the mean of areas and by four neighbours. Exits with 1
if any difference is larger than its limit.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from vitrun.data.transforms.crops import CROPS, NUMBERS_PER_CROP
from vitrun.data.transforms.views import CenterCropView
from vitrun.runtime.text_tables import format_table

SHAPES = ((32, 32), (375, 500), (500, 333), (40, 90), (200, 30), (7, 5))
AREA = (0.05, 1.0)
DRAWS = 20000
NEARLY = 2.2 / np.sqrt(DRAWS / 2)  # two samples of one law exceed it once in 8,000 times
PIXELS = 0.01  # levels of 255
SIDES = ((375, 500, 256), (96, 128, 256), (333, 500, 224))  # of an image, and of its shorter side afterwards
THEIRS = """
import sys
import numpy as np
import tensorflow as tf
shapes, area, draws, sides, file = eval(sys.argv[1])
@tf.function
def crop(shape):
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        shape, tf.zeros([0, 0, 4]), area_range=area, min_object_covered=0, use_image_if_no_bounding_boxes=True)
    return tf.concat([begin[:2], size[:2]], 0)
found = {}
for high, wide in shapes:
    many = tf.repeat(tf.constant([[high, wide, 3]]), draws, 0)
    found[f"{high} {wide}"] = tf.map_fn(crop, many).numpy()
for high, wide, short in sides:
    image = np.random.default_rng(0).integers(0, 256, (high, wide, 3)).astype(np.float32)
    to = [round(side * short / min(high, wide)) for side in (high, wide)]
    for method in ("area", "bilinear"):
        found[f"{method} {high} {wide}"] = tf.image.resize(image, to, method).numpy()
np.savez(file, **found)
"""


def main() -> None:
    """Print a row for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="the python of an environment that has tensorflow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "theirs.npz"
        arguments = repr((SHAPES, AREA, DRAWS, SIDES, str(file)))
        subprocess.run([options.python, "-c", THEIRS, arguments], check=True)
        theirs = dict(np.load(file))
    rows = [row for shape in SHAPES for row in compare_crops(shape, theirs[f"{shape[0]} {shape[1]}"])]
    rows += [
        compare_resizing(*sides, method, theirs[f"{method} {sides[0]} {sides[1]}"])
        for sides in SIDES
        for method in METHODS
    ]
    print(format_table(["what", "of", "TensorFlow", "vitrun", "apart", "at most"], rows))
    sys.exit(any(float(row[-2]) > float(row[-1]) for row in rows))


def compare_crops(shape: tuple[int, int], theirs: np.ndarray) -> list[list[str]]:
    """Return a row for each statistic of the boxes of one shape."""
    numbers = np.random.default_rng(1).random((DRAWS, NUMBERS_PER_CROP))
    ours, _ = CROPS["inception"](numbers, np.tile(shape, (DRAWS, 1)), AREA, 32)
    rows = []
    for what, figure in FIGURES.items():
        a, b = (figure(boxes.astype(float)) for boxes in (theirs, ours))
        rows.append([what, f"{shape[0]} x {shape[1]}", f"{a.mean():.4g}", f"{b.mean():.4g}"])
        rows[-1] += [f"{distance(a, b):.4f}", f"{NEARLY:.4f}"]
    return rows


FIGURES = {  # of boxes [N, 4]: top, left, height, width
    "mean height": lambda boxes: boxes[:, 2],
    "mean area": lambda boxes: boxes[:, 2] * boxes[:, 3],
    "mean aspect": lambda boxes: boxes[:, 3] / boxes[:, 2],
    "mean top": lambda boxes: boxes[:, 0],
    "mean left": lambda boxes: boxes[:, 1],
}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest distance between the distribution functions of two samples."""
    both = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(sample), both, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


METHODS = ("area", "bilinear")


def compare_resizing(high: int, wide: int, short: int, method: str, theirs: np.ndarray) -> list[str]:
    """Return the row of the largest pixel difference in the central square."""
    image = np.random.default_rng(0).integers(0, 256, (high, wide, 3)).astype(np.uint8)
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    resize = "small_area" if method == "area" else "small"
    ours = (CenterCropView(short, resize=resize, antialias=False)(pixels)[0] + 1) * 127.5
    top, left = ((side - short) // 2 for side in theirs.shape[:2])
    expected = theirs[top : top + short, left : left + short].transpose(2, 0, 1)
    apart = np.abs(ours.numpy() - expected).max()
    means = [f"{expected.mean():.4g}", f"{ours.mean():.4g}"]
    return [f"{method}, {short} px", f"{high} x {wide}", *means, f"{apart:.4f}", f"{PIXELS}"]


if __name__ == "__main__":
    main()
