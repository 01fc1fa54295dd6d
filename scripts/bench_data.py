"""Measure the speed of making training images: vitrun, torchvision and timm, on the same files and cores, in turn.

    python scripts/bench_data.py data=folder data.path=PATH/TO/photographs res=224
    python scripts/bench_data.py data=cifar10 data.path=PATH/TO/cifar10 res=32

Each round makes batches of random crops, flipped and normalized: by vitrun, by torchvision's ImageFolder and transforms
on Pillow, and by timm's loader without colour jitter; the latter two use two workers. Each loader runs in a separate
process that reports images per second and per second of processor time after the first batch, the seconds to that
batch after importing the libraries, and the memory that its main process took since then. The script prints the
medians and their ratios.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter, process_time

import datasets  # noqa: F401 (for it to be imported before the first batch, as the other loaders' libraries are)
import torch
import torchvision
from timm.data import ImageDataset, create_loader
from torchvision import transforms

from vitrun import data
from vitrun.config import resolve
from vitrun.data.sources import registry
from vitrun.data.transforms.views import CropView
from vitrun.recipes import Pretrain
from vitrun.runtime.text_tables import format_table

BATCH = 128
WORKERS = 2
HALF = (0.5, 0.5, 0.5)  # mean and deviation that take pixels to [-1, 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of measuring each loader in a round")
    parser.add_argument("--one", nargs=2, help="a loader and the images as a folder a class: measure that one, here")
    parser.add_argument(
        "overrides", nargs="+", help="overrides of vitrun pretrain for the images, as in data=cifar10 res=32"
    )
    options = parser.parse_args()
    recipe = resolve.resolve_recipe("pretrain", options.overrides)
    if options.one:
        loader, files = options.one
        print(json.dumps(measure(LOADERS[loader](recipe, Path(files)), options.seconds)))
        return
    measurements: dict[str, list[dict]] = {name: [] for name in LOADERS}
    with tempfile.TemporaryDirectory() as scratch:
        write_images(recipe, Path(scratch))
        for number in range(options.rounds):
            for name, runs in measurements.items():
                command = [sys.executable, __file__, "--seconds", str(options.seconds), *options.overrides]
                output = subprocess.check_output([*command, "--one", name, scratch], text=True)
                runs.append(json.loads(output.splitlines()[-1]))
            print(
                f"round {number + 1}",
                {name: round(runs[-1]["speed"]) for name, runs in measurements.items()},
                flush=True,
            )
    header = ["", "images/s", "vitrun is faster by", "images/s of processor time", "by", "first batch", "memory"]
    print(format_table(header, [format_row(name, measurements) for name in measurements]))


def format_row(name: str, measurements: dict[str, list[dict]]) -> list[str]:
    """Return the medians of one loader, and the medians of the ratios round by round."""
    runs = measurements[name]
    speed, busy, first, memory = (median(run[key] for run in runs) for key in ("speed", "busy", "first", "memory"))
    faster, lighter = (
        median(ours[key] / theirs[key] for ours, theirs in zip(measurements["vitrun"], runs))
        for key in ("speed", "busy")
    )
    figures = [f"{speed:,.0f}", f"{faster:.2f}", f"{busy:,.0f}", f"{lighter:.2f}", f"{first:.2f} s"]
    return [name, *figures, f"{memory / 1e9:.2f} GB"]


def write_images(recipe: Pretrain, place: Path) -> None:
    """Write the training images as they are encoded, one folder for each class."""
    split = registry.open_source(recipe.data, "train")
    for index, label in enumerate(split.labels.tolist()):
        folder = place / f"{label:05d}"
        folder.mkdir(exist_ok=True)
        (folder / f"{index:08d}.jpg").write_bytes(split.read_encoded(index))


def measure(batches: Iterator[torch.Tensor], seconds: float) -> dict:
    """Measure one loader, whose work begins with its first batch."""
    memory, began = getrusage(RUSAGE_SELF).ru_maxrss, perf_counter()
    next(batches)
    first, busy, images = perf_counter(), processor_seconds(), 0
    while perf_counter() - first < seconds:
        images += len(next(batches))
    took, busy = perf_counter() - first, processor_seconds() - busy
    memory = (getrusage(RUSAGE_SELF).ru_maxrss - memory) * 1024
    return {"speed": images / took, "busy": images / busy, "first": first - began, "memory": memory}


def processor_seconds() -> float:
    """Return the processor time that this process and its workers have used so far."""
    total = process_time()
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def vitrun(recipe: Pretrain, files: Path) -> Iterator[torch.Tensor]:
    """Yield the batches of vitrun, from the data of the recipe."""
    split = data.open_split(recipe.data, "train")
    view = CropView(recipe.res, "random_resized", recipe.data.area, recipe.data.flip, recipe.seed)
    for batch in data.prefetch(
        data.train_batches(split, view, BATCH, recipe.seed, range(sys.maxsize)), torch.get_num_threads()
    ):
        yield batch.images


def torchvision_(recipe: Pretrain, files: Path) -> Iterator[torch.Tensor]:
    """Yield the batches of ImageFolder with the transforms of torchvision's training reference."""
    chain = [
        transforms.RandomResizedCrop(recipe.res, scale=recipe.data.area),
        transforms.RandomHorizontalFlip(0.5 * recipe.data.flip),
        transforms.ToTensor(),
        transforms.Normalize(HALF, HALF),
    ]
    images = torchvision.datasets.ImageFolder(files, transforms.Compose(chain))
    options = {"shuffle": True, "drop_last": True, "num_workers": WORKERS, "persistent_workers": True}
    loader = torch.utils.data.DataLoader(images, BATCH, **options)
    while True:
        for batch, _ in loader:
            yield batch


def timm(recipe: Pretrain, files: Path) -> Iterator[torch.Tensor]:
    """Yield the batches of the loader of timm's train.py."""
    loader = create_loader(
        ImageDataset(str(files)), (3, recipe.res, recipe.res), BATCH, is_training=True, use_prefetcher=False,
        scale=recipe.data.area, hflip=0.5 * recipe.data.flip, color_jitter=None, interpolation="bilinear",
        mean=HALF, std=HALF, num_workers=WORKERS, pin_memory=False,
    )  # fmt: skip
    while True:
        for batch, _ in loader:
            yield batch


LOADERS = {"vitrun": vitrun, "torchvision": torchvision_, "timm": timm}

if __name__ == "__main__":
    main()
