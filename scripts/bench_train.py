"""Compare the training speed of vitrun with timm's train.py: the same images, model, batch and steps, in turn.

    python scripts/bench_train.py --timm PATH/TO/pytorch-image-models/train.py data.path=PATH/TO/cifar10

Each round runs vitrun and three settings of timm, and prints images per second of training, the share of time spent
waiting for data, and peak memory; the median ratios follow at the end. Both read the images from class folders, crop
and flip alike, and train the published network, with GELU in its tanh form: timm's own erf form is cheaper on a CPU.
Without bf16 instructions in the CPU, --amp is omitted: vitrun computes in float32 there, and timm would take hours.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from vitrun import data
from vitrun.config import resolve
from vitrun.runtime.device import choose_dtype
from vitrun.runtime.text_tables import format_table

BATCH = 128
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
    options = parse_arguments(__doc__, rounds=3, steps=20)
    measurements: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        images = write_images(Path(scratch), options.overrides, {"train": options.steps * BATCH, "test": 100})
        for number in range(options.rounds):
            measurements.setdefault("vitrun", []).append(vitrun(images, options.steps, Path(scratch) / f"runs{number}"))
            for name, (flags, environment) in TIMM.items():
                measurements.setdefault(name, []).append(timm(options.timm, images, flags, environment, Path(scratch)))
            print(
                f"round {number + 1}",
                {name: round(runs[-1]["speed"], 1) for name, runs in measurements.items()},
                flush=True,
            )
    print(
        format_table(
            ["", "images/s", "waiting", "peak memory", "vitrun is faster by"],
            [format_row(n, measurements) for n in measurements],
        )
    )


def parse_arguments(about: str, **numbers: int) -> argparse.Namespace:
    """Parse the path of timm's train.py, the ``numbers`` with their defaults, and overrides for the images."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--timm", type=Path, required=True, help="timm's train.py")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("overrides", nargs="*", help="overrides for the images, as in data.path=FOLDER")
    return parser.parse_args()


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


def vitrun(images: Path, steps: int, runs: Path) -> dict:
    """Run vitrun; return its speed, share of waiting and peak memory."""
    overrides = [*VITRUN_ARGUMENTS, f"data.path={images}", f"steps={steps}", f"runs={runs}", "--json"]
    output, memory = run_measured([sys.executable, "-m", "vitrun", "pretrain", *overrides], {})
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
