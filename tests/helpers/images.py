"""Images, and folders and parquet files of images."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image


def make_scenes(number: int, seed: int) -> np.ndarray:
    """Return smooth random images, as unlike each other as unrelated photographs: uint8 [N, 96, 96, 3]."""
    rough = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (number, 3, 12, 12)))
    smooth = torch.nn.functional.interpolate(rough, (96, 96), mode="bicubic").clamp(0, 255)
    return smooth.byte().permute(0, 2, 3, 1).numpy().copy()


def make_png(number: int) -> bytes:
    """Return a small PNG of random pixels with the seed ``number``."""
    file = BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_class_folders(root: Path, names: list[str], count: int = 1) -> Path:
    """Write a folder of ``count`` images for each class; return ``root``."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for n in range(count):
            (root / name / f"{n}.png").write_bytes(make_png(number * count + n))
    return root


def link_folders(root: Path, number: int) -> None:
    """Write folders that all link to one another: far more paths than any program can follow."""
    for name in range(number):
        (root / str(name)).mkdir(parents=True)
        for other in range(number):
            (root / str(name) / f"to{other}").symlink_to(root / str(other))


IMAGE_TYPE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def write_parquet(file: Path, **columns) -> None:
    """Write a parquet file, with two images unless columns are given."""
    columns = {"image": [{"bytes": make_png(n), "path": f"{n}.png"} for n in range(2)], "label": [0, 1]} | columns
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def write_flat_folder(root: Path) -> None:
    """Write an image without a class folder."""
    (root / "1.jpg").write_bytes(make_png(1))


def random_pil_images(number: int, seed: int, size: int = 16) -> list[Image.Image]:
    """Return images of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (number, size, size, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in pixels]


def write_part_folders(place, seeds: dict[str, int]) -> None:
    """Write class folders of uncompressed images, with the same names and sizes in every part."""
    for part, seed in seeds.items():
        for number, image in enumerate(random_pil_images(8, seed)):
            folder = place / part / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{number}.bmp")


def random_images(number: int, height: int, width: int) -> torch.Tensor:
    """Return random pixels, uint8 [number, 3, height, width]."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (number, 3, height, width), dtype=np.uint8))
