"""Compare the training speed of vitrun with timm's train.py: the same images, model, batch and steps, in turn.

    python scripts/bench_train.py --timm PATH/TO/pytorch-image-models/train.py data.path=PATH/TO/cifar10

Each round trains with every layout of a grid and with the one that micro_batch=auto measures, in turn in one process;
then it runs vitrun and three settings of timm, and prints images per second of training, the share of time spent
waiting for data, and peak memory; the medians and the median ratios follow at the end. Both read the images from class
folders, crop and flip alike, and train the published network, with GELU in its tanh form: timm's own erf form is
cheaper on a CPU. Without bf16 instructions in the CPU, --amp is omitted: vitrun computes in float32 there, and timm
would take hours. Every round measures the layout anew. With --results FILE several calls add rounds to one table.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest.mock import patch

import torch
from PIL import Image

from vitrun import data
from vitrun.commands import pretrain
from vitrun.config import resolve
from vitrun.engine.layout import Layout
from vitrun.engine.micro_batches import MicroBatchMonitor
from vitrun.engine.step_layout import set_layout
from vitrun.engine.trainer import Trainer
from vitrun.runs import execution
from vitrun.runtime import environment
from vitrun.runtime.console import Screen
from vitrun.runtime.device import choose_dtype
from vitrun.runtime.text_tables import format_table

BATCH = 128
MICRO = (16, 32, 64, 128)  # micro-batches of the grid, with one worker and with all
MICRO_FUSED = 64  # micro-batch for which fused attention is in the grid too, with all workers
TURNS = 4  # timed steps of each layout in a round
AMP = ["--amp", "--amp-dtype", "bfloat16"] if choose_dtype("auto", torch.device("cpu")) == torch.bfloat16 else []
UNFUSED = {"TIMM_FUSED_ATTN": "0"}
TIMM = {
    "timm": ([], {}),
    **({"timm --amp": (AMP, {})} if AMP else {}),
    f"timm{' --amp' if AMP else ''}, fused attention off": (AMP, UNFUSED),
}
TIMM_ARGUMENTS = (
    "--model vit_tiny_patch16_224 --input-size 3 32 32 --model-kwargs patch_size=4 img_size=32 act_layer=gelu_tanh "
    f"--num-classes 10 --device cpu --workers 2 --batch-size {BATCH} --epochs 1 --opt adamw --lr 1e-3 "
    "--weight-decay 0.05 --sched cosine --warmup-epochs 0 --clip-grad 1 --hflip 0.5 --scale 0.35 1 --ratio 0.75 1.3333 "
    "--color-jitter 0 --train-interpolation bilinear --mean 0.5 0.5 0.5 --std 0.5 0.5 0.5 --log-interval 1"
).split()
VITRUN_ARGUMENTS = (
    f"model=vit_ti4 data=folder batch={BATCH} warmup=0 optim.weight_decay=0.05 data.area=[0.35,1]".split()
)


def main() -> None:
    if sys.argv[1:2] == ["--layouts"]:  # in a process of its own
        print(json.dumps(time_layouts(sys.argv[2:])))
        return
    parser = make_parser(__doc__, rounds=3, steps=20)
    parser.add_argument("--parts", default="layouts,peers", help="what to measure in a round")
    parser.add_argument("--results", type=Path, help="JSON file to which the figures of every round are added")
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results and options.results.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        images = write_images(Path(scratch), options.overrides, {"train": options.steps * BATCH, "test": 100})
        for number in range(options.rounds):
            variables = {"XDG_CACHE_HOME": str(Path(scratch) / f"cache{number}")}  # with no measured layout
            for part in options.parts.split(","):
                measure = measure_layouts if part == "layouts" else measure_peers
                for name, figures in measure(options, images, Path(scratch) / f"runs{number}", variables):
                    results.setdefault(part, {}).setdefault(name, []).append(figures)
                    print(f"round {number + 1}: {name}: {figures['speed']:.1f} images/s", flush=True)
            if options.results:
                options.results.write_text(json.dumps(results))
    print_tables(results)


def make_parser(about: str, **numbers: int) -> argparse.ArgumentParser:
    """Return a parser of the path of timm's train.py, the ``numbers`` with their defaults, and overrides."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--timm", type=Path, required=True, help="timm's train.py")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("overrides", nargs="*", help="overrides for the images, as in data.path=FOLDER")
    return parser


def measure_layouts(options: argparse.Namespace, images: Path, runs: Path, variables: dict) -> Iterator[tuple]:
    """Yield the figures of each layout of the grid, and of the one of ``micro_batch=auto``."""
    command = [sys.executable, __file__, "--layouts", f"data.path={images}", f"runs={runs}-layouts"]
    output, _ = run_measured(command, variables)
    yield from json.loads(output.splitlines()[-1]).items()


def measure_peers(options: argparse.Namespace, images: Path, runs: Path, variables: dict) -> Iterator[tuple]:
    """Yield the figures of vitrun's command line and of timm's settings."""
    yield "vitrun", vitrun(images, options.steps, runs, variables)
    for name, (flags, settings) in TIMM.items():
        yield name, timm(options.timm, images, flags, settings, runs)


def time_layouts(overrides: list[str]) -> dict[str, dict]:
    """Train with each layout in turn; return the images per second of each by its name, of auto by "auto: NAME"."""
    environment.keep_freed_memory()  # as the command line does
    environment.share_cores()
    seconds: dict[str, list[float]] = {}
    make_batches = Trainer.make_batches

    def make_timed(trainer: Trainer, *args: object) -> Iterator[data.Batch]:
        batches, workers = make_batches(trainer, *args), trainer.machine.workers
        grid = [Layout(micro, number, False) for number in {1, workers} for micro in MICRO]
        grid += [Layout(MICRO_FUSED, workers, True)]
        layouts = {str(layout): layout for layout in grid if layout.at_once <= trainer.recipe.batch}
        layouts[f"auto: {trainer.layout}"] = trainer.layout
        for turn in range(1 + TURNS):  # the first is not timed: it prepares the kernels
            names = list(layouts) if turn % 2 else [*reversed(layouts)]
            for name, layout in ((name, layouts[name]) for name in names):
                set_layout(trainer.state, layout)
                batch, started = next(batches), perf_counter()
                yield batch
                if turn:
                    seconds.setdefault(name, []).append(perf_counter() - started)

    recipe = resolve.resolve_recipe("pretrain", [*VITRUN_ARGUMENTS, "steps=1000000", *overrides])
    with (
        patch.object(Trainer, "make_batches", make_timed),
        patch.object(Trainer, "test", lambda _: {}),
        patch.object(MicroBatchMonitor, "record_step", lambda *_: None),  # it takes another layout for a lack of memory
    ):
        execution.execute_run("pretrain", recipe, Screen(quiet=True), pretrain.execute)
    return {name: {"speed": BATCH / median(steps)} for name, steps in seconds.items()}


def print_tables(results: dict[str, dict[str, list[dict]]]) -> None:
    """Print the medians over the rounds."""
    layouts, peers = results.get("layouts", {}), results.get("peers", {})
    if layouts:
        grid = {name: median(run["speed"] for run in runs) for name, runs in layouts.items() if ":" not in name}
        auto = [run["speed"] for name, runs in layouts.items() if ":" in name for run in runs]
        chosen = ", ".join(f"{name} ({len(runs)})" for name, runs in layouts.items() if ":" in name)
        rows = [[name, f"{speed:.1f}"] for name, speed in sorted(grid.items(), key=lambda pair: -pair[1])]
        print(format_table(["layout", "images/s"], [*rows, [chosen, f"{median(auto):.1f}"]]))
        print(f"auto: {median(auto) / max(grid.values()):.3f} of the best of the grid")
    if peers:
        header = ["", "images/s", "waiting", "peak memory", "vitrun is faster by"]
        print(format_table(header, [format_row(name, peers) for name in peers]))


def format_row(name: str, measurements: dict[str, list[dict]]) -> list[str]:
    """Return the medians of one setting, and the median of the ratios round by round."""
    runs = measurements[name]
    speed, waiting, memory = (median(run[key] for run in runs) for key in ("speed", "waiting", "memory"))
    ratio = median(ours["speed"] / theirs["speed"] for ours, theirs in zip(measurements["vitrun"], runs))
    return [name, f"{speed:.1f}", f"{waiting:.1%}", f"{memory / 1e9:.2f} GB", f"{ratio:.2f}"]


def write_images(scratch: Path, overrides: list[str], sizes: dict[str, int]) -> Path:
    """Write the first images of each part of CIFAR-10 as PNG files, one folder for each class."""
    row = resolve.resolve_recipe("pretrain", ["data=cifar10", *overrides]).data
    for part, size in sizes.items():
        split = data.open_split(row, part)
        for index in range(size):
            name = {"train": "train", "test": "val"}[part]  # the names that timm and vitrun both use
            folder = scratch / "images" / name / split.classes[split.labels[index]]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.pixels[index].permute(1, 2, 0).numpy()).save(folder / f"{index:05d}.png")
    return scratch / "images"


def vitrun(images: Path, steps: int, runs: Path, variables: dict) -> dict:
    """Run vitrun, which takes the layout that was measured; return its speed, share of waiting and peak memory."""
    overrides = [*VITRUN_ARGUMENTS, f"data.path={images}", f"steps={steps}", f"runs={runs}", "--json"]
    output, memory = run_measured([sys.executable, "-m", "vitrun", "pretrain", *overrides], variables)
    result = json.loads(output)
    return {"speed": result["images_per_second"], "waiting": result["waiting"], "memory": memory}


def timm(script: Path, images: Path, flags: list[str], environment: dict, scratch: Path) -> dict:
    """Run timm's train.py, which logs the mean seconds of a step and of its waiting for data."""
    command = [sys.executable, script, images, *TIMM_ARGUMENTS, *flags, "--output", scratch / "timm"]
    output, memory = run_measured([str(part) for part in command], environment)
    times = re.findall(r"\(\s*([\d.]+)s,\s*([\d.]+)/s\).*?Data:\s*[\d.]+\s*\(([\d.]+)\)", output)
    seconds, speed, waiting = (float(figure) for figure in times[-1])
    return {"speed": speed, "waiting": waiting / seconds, "memory": memory}


def run_measured(command: list[str], environment: dict) -> tuple[str, int]:
    """Run a command; return its output, and the peak memory of its process in bytes."""
    with tempfile.TemporaryFile("w+") as output:
        errors = None if "--json" in command else output
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=os.environ | environment, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        text = output.read()
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return text, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
