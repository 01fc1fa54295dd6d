"""Files for the tiny originals of VTAB."""

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ExpectedSamples = list[tuple[str, dict[str, int], bytes | np.ndarray]]  # key, labels and image of each
RANDOM = np.random.default_rng(0)


@cache
def make_photo(number: int, kind: str = "JPEG", size: tuple[int, int] = (9, 7)) -> bytes:
    """Return an image file of one colour."""
    file = BytesIO()
    Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, 128)).save(file, kind)
    return file.getvalue()


def write_file(path: Path, data: bytes | str) -> None:
    """Write a file and create the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def random_pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, np.uint8)


def write_class_folders(root: Path, classes: list[str], files: dict[str, int]) -> None:
    """Write a folder for each class, and images by their paths below ``root``."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
    for path, number in files.items():
        write_file(root / path, make_photo(number))
