"""Measure the cost of 14 million images in shards: time and memory to open the index, read keys and draw an order.

    python scripts/bench_index.py --images 14_000_000 --shards 4096

The shards are empty files of made-up sizes; their index is written by the same code as that of real shards.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from vitrun.config import resolve
from vitrun.data import sampler
from vitrun.data.sources import registry
from vitrun.data.sources.shards import index, samples

PATTERN, BATCH, CLASSES = "made-up-{:04d}.tar", 4096, 21841


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=14_000_000)
    parser.add_argument("--shards", type=int, default=4096)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        return measure(options.open, options.shards)
    with tempfile.TemporaryDirectory() as scratch:
        started = perf_counter()
        write_empty_shards(Path(scratch), options.images, options.shards)
        print(f"made an index of {options.images:,} images in {perf_counter() - started:.1f} s", flush=True)
        overrides = ["--shards", str(options.shards), "--open", scratch]
        subprocess.run([sys.executable, __file__, *overrides], check=True)


def write_empty_shards(root: Path, images: int, shards: int) -> None:
    """Write empty shards into ``root``, and an index of made-up images."""
    names = [PATTERN.format(n) for n in range(shards)]
    for name in [*names, "val.tar"]:
        (root / name).touch()
    per_shard = np.diff(np.linspace(0, images, shards + 1).astype(int)).tolist()
    index.write_index(
        index.index_folder(root, names, samples.Wanted()),
        names,
        (make_samples(n, number) for n, number in enumerate(per_shard)),
    )


def make_samples(shard: int, images: int) -> list[tuple[str, int, int, list[int]]]:
    """Return name, offset, size and labels of the images of one shard, similar to those of ImageNet."""
    generator: Iterator[int] = iter(np.random.default_rng(shard).integers(0, CLASSES, images).tolist())
    return [(f"n{label:08d}_{shard}{i}", i * 110_000, 109_000, [label]) for i, label in enumerate(generator)]


def measure(root: Path, shards: int) -> None:
    """Print the cost of each step; run in a separate process."""
    pattern = PATTERN.replace("{:04d}", f"{{0000..{shards - 1:04d}}}")
    overrides = [
        "data=shards",
        f"data.path={root}",
        f"data.train={pattern}",
        "data.test=val.tar",
        f"data.classes={CLASSES}",
    ]
    recipe = resolve.resolve_recipe("pretrain", overrides).data
    began, before = perf_counter(), measure_memory()
    split = registry.open_source(recipe, "train")  # as open_split, which would decode a few images first
    missing = split.labels.min() < 0
    print_usage("opened", began, before)
    began = perf_counter()
    print(
        f"{len(split):,} images, the last is {split.keys[-1]}, fingerprint {split.fingerprint}, unlabelled: {missing}"
    )
    for step in range(20):
        split.targets(split.order.indices(0, 0, sampler.step_positions(step, BATCH)))
    print_usage(f"20 steps of {BATCH} drawn", began, before)


def print_usage(what: str, began: float, before: dict[str, float]) -> None:
    """Print the seconds since ``began``, and the growth of memory since ``before``."""
    memory_used = ", ".join(f"{kind} {mb - before[kind]:.0f} MB" for kind, mb in measure_memory().items())
    print(f"{what} in {perf_counter() - began:.2f} s; {memory_used}", flush=True)


def measure_memory() -> dict[str, float]:
    """Return the memory of this process in MB: its own, and resident pages of mapped files (Linux)."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    fields = {"own": "RssAnon", "mapped": "RssFile", "peak": "VmHWM"}
    return {name: int(lines[field].split()[0]) / 1024 for name, field in fields.items()}


if __name__ == "__main__":
    main()
