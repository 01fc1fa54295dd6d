"""Compare the speed of inference: vitrun eval and fewshot, timm's validate.py and a pipeline of transformers, in turn.

    python scripts/bench_eval.py --timm PATH/TO/pytorch-image-models/validate.py data=parquet data.path=PHOTOGRAPHS

All compute the same ViT-S/16 with the same random weights at 224 pixels, from the test photographs of the overrides as
JPEG files, each repeated until there are ``--images``. ``--gelu exact`` takes timm's form of GELU instead of that of
the published weights, tanh. The view is timm's (the shorter side resized bicubically, its central 90 %); that of the
pipeline is transformers' for ViT (squashed to a square, bilinear), which is cheaper.

Each round runs every program on all images and on a quarter of them. The whole command is timed with all, and the
steady state is what the further images took, in seconds and in seconds of processor time, which others on the machine
disturb less: starting, importing and loading do not count. Without bf16 instructions in
the CPU, the settings with bf16 are omitted: vitrun computes in float32 there.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from bench_train import AMP, UNFUSED, run_measured

from vitrun import data, models
from vitrun.commands import export
from vitrun.config import resolve
from vitrun.data.sources import registry
from vitrun.recipes import tables
from vitrun.runtime.console import Screen
from vitrun.runtime.text_tables import format_table

MODEL, RES, CROP, BATCH, WORKERS = "vit_s16", 224, 0.9, 64, 2
SEED = 0
VIEW = ["view.resize=shortest", f"view.crop={CROP}", "view.interpolation=bicubic", "view.antialias=true"]
VALIDATE = f"--device cpu --workers {WORKERS} --batch-size {BATCH} --crop-pct {CROP} --interpolation bicubic".split()

PIPELINE = """
import sys
from pathlib import Path
from transformers import pipeline
folder, images, dtype, batch, workers = sys.argv[1:]
files = [str(file) for file in sorted(Path(images, "val").rglob("*.jpg"))]
classify = pipeline("image-classification", model=folder, dtype=dtype, device="cpu")
right = sum(Path(file).parent.name == answers[0]["label"] for file, answers in zip(files, classify(
    files, batch_size=int(batch), num_workers=int(workers), top_k=1)))
print("top-1", right / len(files))
"""


class Times(NamedTuple):
    """What a program took in a round."""

    steady: float  # images a second, of those after the first quarter
    processor: float  # the same images a second of processor time
    whole: float  # seconds of the command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timm", type=Path, required=True, help="timm's validate.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--gelu", choices=["tanh", "exact"], default="tanh")
    parser.add_argument("overrides", nargs="+", help="overrides for the photographs, as in data.path=FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        write_weights(place, write_photographs(place, options.overrides, options.images), options.gelu)
        programs = list_programs(options.timm, place)
        runs: dict[str, list[Times]] = {name: [] for name in programs}
        for number in range(options.rounds):
            for name, run in programs.items():
                few, many = (time_program(run, place / folder) for folder in ("few", "all"))
                further = options.images - options.images // 4
                times = Times(further / (many[0] - few[0]), further / (many[1] - few[1]), many[0])
                runs[name].append(times)
                print(
                    f"round {number + 1}, {name}: {times.steady:.1f} images/s, in all {times.whole:.1f} s", flush=True
                )
    header = ["", "steady state, images/s", "eval is faster by", "fewshot by", "images/s of processor time", "eval by"]
    print(format_table([*header, "whole command", "eval is faster by"], [format_row(name, runs) for name in runs]))


def list_programs(validate: Path, place: Path) -> dict[str, Callable[[Path], None]]:
    """Return the programs by name: each is called with a folder of images."""
    weights, of_timm, of_transformers = (str(place / name) for name in ("weights.safetensors", "timm", "hf"))

    def vitrun(command: str, *more: str) -> Callable[[Path], None]:
        def run(images: Path) -> None:
            with tempfile.TemporaryDirectory() as runs:
                overrides = [f"init={weights}", "data=folder", f"data.path={images}", *VIEW, *more, f"runs={runs}"]
                run_measured([sys.executable, "-m", "vitrun", command, *overrides], {})

        return run

    def timm(flags: list[str], environment: dict[str, str]) -> Callable[[Path], None]:
        command = [sys.executable, str(validate), "--model", f"local-dir:{of_timm}", *VALIDATE, *flags, "--data-dir"]
        return lambda images: run_measured([*command, str(images)], environment) and None

    def transformers(dtype: str) -> Callable[[Path], None]:
        command = [sys.executable, "-c", PIPELINE, of_transformers]
        return lambda images: run_measured([*command, str(images), dtype, str(BATCH), str(WORKERS)], {}) and None

    return {
        "vitrun eval": vitrun("eval"),
        "vitrun fewshot": vitrun("fewshot", "shots=1", "seeds=0"),
        "timm validate.py": timm([], {}),
        **({"timm --amp": timm(AMP, {}), "timm --amp, fused attention off": timm(AMP, UNFUSED)} if AMP else {}),
        "transformers pipeline": transformers("float32"),
        **({"transformers pipeline, bf16": transformers("bfloat16")} if AMP else {}),
    }


def write_photographs(place: Path, overrides: list[str], number: int) -> tuple[str, ...]:
    """Write ``number`` JPEG files as they are encoded into all/val, a quarter of them into few/val, a folder a class.

    The folders ``train`` have one image a class. Return the classes.
    """
    source = resolve.resolve_recipe("eval", [f"init=random:{MODEL}", *overrides]).data
    split = registry.open_source(source, "test")
    photographs = [row for row in range(len(split)) if bytes(split.read_encoded(row)[:3]) == b"\xff\xd8\xff"]
    names = [data.escape_name(name).replace("/", "_") for name in split.classes]
    for folder, count in (("all", number), ("few", number // 4)):
        for position, row in enumerate(islice(cycle(photographs), count)):
            label = split.labels[row]
            for part in ("val", "train"):
                into = place / folder / part / names[label]
                into.mkdir(parents=True, exist_ok=True)
                if part == "val" or not any(into.iterdir()):
                    (into / f"{position:06d}.jpg").write_bytes(split.read_encoded(row))
    return tuple(sorted({folder.name for folder in (place / "all" / "val").iterdir()}))


def write_weights(place: Path, classes: tuple[str, ...], gelu: str) -> None:
    """Write the same random weights as vitrun, timm and transformers read them."""
    row = replace(tables.load_model_rows()[MODEL], gelu=gelu)
    torch.manual_seed(SEED)
    network = models.build(row, len(classes), RES)
    torch.nn.init.normal_(network.head.weight)
    models.save_model(place / "weights.safetensors", network, row, len(classes), RES, classes)
    for to in ("timm", "hf"):
        overrides = [
            f"init={place / 'weights.safetensors'}",
            f"to={to}",
            f"path={place / to}",
            f"runs={place / 'runs'}",
        ]
        export.execute(resolve.resolve_recipe("export", overrides), Screen(quiet=True))


def time_program(run: Callable[[Path], None], images: Path) -> tuple[float, float]:
    """Return the seconds that a program takes for a folder of images, and its seconds of processor time."""
    start, before = perf_counter(), getrusage(RUSAGE_CHILDREN)
    run(images)
    after = getrusage(RUSAGE_CHILDREN)
    return perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def format_row(name: str, runs: dict[str, list[Times]]) -> list[str]:
    """Return the medians of a program, and the medians of vitrun's ratios to it, round by round."""

    def ratio(ours: str, field: str) -> float:
        return median(getattr(one, field) / getattr(other, field) for one, other in zip(runs[ours], runs[name]))

    steady, processor, whole = (median(getattr(times, field) for times in runs[name]) for field in Times._fields)
    speeds = [f"{steady:.1f}", f"{ratio('vitrun eval', 'steady'):.2f}", f"{ratio('vitrun fewshot', 'steady'):.2f}"]
    work = [f"{processor:.1f}", f"{ratio('vitrun eval', 'processor'):.2f}"]
    return [name, *speeds, *work, f"{whole:.1f} s", f"{1 / ratio('vitrun eval', 'whole'):.2f}"]


if __name__ == "__main__":
    main()
