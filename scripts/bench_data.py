"""How fast training images are made: vitrun beside torchvision and timm, on the same files and cores, in turn.

    python scripts/bench_data.py data=folder data.path=PATH/TO/photographs res=224
    python scripts/bench_data.py data=cifar10 data.path=PATH/TO/cifar10 res=32

Each round makes batches of random crops, flipped and normalised, with two workers each: with vitrun, with torchvision's
ImageFolder and its transforms on Pillow, and with timm's loader without colour jitter. Every one runs in a process of its
own. Images a second, and a second of processor time (which other work on the machine disturbs less), after the first
epoch's start; seconds to the first batch from the start of that work, libraries imported; peak memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter
from typing import Any

from bench_train import measured

from vitrun import start
from vitrun.screen import table

BATCH = 128
WORKERS = 2
MEAN = (0.5, 0.5, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of measuring, each")
    parser.add_argument("--one", choices=LOADERS, help="measure one loader, and print its figures as JSON")
    parser.add_argument("--files", type=Path, help="the images as a folder a class, for the others")
    parser.add_argument("words", nargs="+", help="words of vitrun pretrain for the images, as in data=cifar10")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options)))
        return
    found: dict[str, list[dict]] = {name: [] for name in LOADERS}
    with tempfile.TemporaryDirectory() as scratch:
        files = write_files(options.words, Path(scratch))
        for number in range(options.rounds):
            for name, runs in found.items():
                flags = ["--one", name, "--files", str(files), "--seconds", str(options.seconds)]
                text, memory = measured([sys.executable, __file__, *flags, "--json", *options.words], {})
                runs.append({**json.loads(text), "memory": memory})
            print(f"round {number + 1}", {name: round(runs[-1]["speed"]) for name, runs in found.items()}, flush=True)
