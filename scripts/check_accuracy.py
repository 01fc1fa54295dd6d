"""Compare the test accuracy of vitrun with timm's train.py: the same initial weights, images, optimizer and steps.

    python scripts/check_accuracy.py --timm PATH/TO/pytorch-image-models/train.py data.path=PATH/TO/cifar10

Trains ViT-Ti/4 from scratch on the first 10,000 training images of CIFAR-10, written as class folders, and tests it on
all test images; one run of each program for each seed, both in bf16 if the CPU has instructions for it, else in
float32. The two differ in the order of the images and the draws of crops and flips. Before that both train on the same
batches in float64, where rounding errors stay small: there the losses should be equal.
"""

import json
import re
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import torch
from bench_train import AMP, UNFUSED, make_parser, run_measured, write_images
from timm import create_model
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import dispatch_clip_grad
from torch.nn import functional

from vitrun import data, models
from vitrun.config import resolve
from vitrun.data.transforms.views import CropView
from vitrun.engine import optim
from vitrun.engine.loop import FitOptions, fit
from vitrun.engine.schedule import Schedule
from vitrun.engine.state import TrainState
from vitrun.models.export import export_model
from vitrun.recipes import tables
from vitrun.runtime import random
from vitrun.runtime.device import Machine
from vitrun.runtime.text_tables import format_table

IMAGES, BATCH = 10_000, 100
RECIPE = {"optim.lr": "1e-3", "optim.weight_decay": "0.05", "warmup": "0", "clip": "1", "schedule": "cosine"}
TIMM_ARGUMENTS = (
    "--model vit_tiny_patch16_224 --input-size 3 32 32 --model-kwargs patch_size=4 img_size=32 act_layer=gelu_tanh "
    f"--num-classes 10 --device cpu --workers 2 --batch-size {BATCH} --opt adamw --lr 1e-3 "
    "--weight-decay 0.05 --sched cosine --sched-on-updates --warmup-epochs 0 --min-lr 0 --clip-grad 1 --smoothing 0 "
    "--scale 0.35 1 --ratio 0.75 1.3333333 --hflip 0.5 --color-jitter 0 --train-interpolation bilinear "
    "--interpolation bilinear --crop-pct 1 --mean 0.5 0.5 0.5 --std 0.5 0.5 0.5"
).split()


def main() -> None:
    options = make_parser(__doc__, seeds=3, epochs=2).parse_args()
    print(f"on the same batches the losses differ by {on_the_same_batches(options.overrides):.1e} at most", flush=True)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = write_images(scratch, options.overrides, {"train": IMAGES, "test": 10_000})
        for seed in range(options.seeds):
            ours.append(vitrun(images, options.epochs, seed, scratch))
            theirs.append(timm(options.timm, images, options.epochs, seed, scratch))
            print(f"seed {seed}: vitrun {ours[-1]:.2f}, timm {theirs[-1]:.2f}", flush=True)
    rows = [
        [name, *(f"{top1:.2f}" for top1 in accuracies), f"{mean(accuracies):.2f}", f"{stdev(accuracies):.2f}"]
        for name, accuracies in (("vitrun", ours), ("timm", theirs))
    ]
    print(format_table(["", *(f"seed {seed}" for seed in range(options.seeds)), "mean", "deviation"], rows))
    print(f"difference of the means {mean(ours) - mean(theirs):+.2f} points")


def on_the_same_batches(overrides: list[str], steps: int = 40, batch: int = 20) -> float:
    """Return the largest relative difference between the losses of vitrun and of timm on the same batches."""
    torch.set_default_dtype(torch.float64)
    options = [f"{key}={value}" for key, value in RECIPE.items()]
    recipe = resolve.resolve_recipe(
        "pretrain", ["model=vit_ti4", "data=cifar10", "data.area=[0.35,1]", *options, *overrides]
    )
    network = models.build(recipe.model, 10, recipe.res)
    with tempfile.TemporaryDirectory() as name:
        export_model(network, recipe.res, "timm", Path(name) / "first", "")
        file = str(Path(name) / "first" / "model.safetensors")
        other = create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, patch_size=4, act_layer="gelu_tanh",
                             checkpoint_path=file).train()  # fmt: skip
    split = data.open_split(recipe.data, "train")
    view = CropView(recipe.res, recipe.data.crop, recipe.data.area, recipe.data.flip, recipe.seed)
    batches = [
        replace(one, pixels=one.images.double())
        for one in data.train_batches(split, view, batch, recipe.seed, range(steps))
    ]
    machine = Machine("cpu", "fp32")
    own_steps = fit(
        TrainState(network, optim.build_optimizer(recipe.optim, network), None, 0, batch // machine.workers),
        batches,
        FitOptions(
            loss=partial(functional.cross_entropy, reduction="none"),  # the loss of vitrun computes in float32
            images=batch,
            lr=Schedule(recipe.schedule, recipe.optim.lr, steps, 0),
            clip=recipe.clip,
            ema_decay=None,
            seed=recipe.seed,
            machine=machine,
            tick=lambda images: None,
        ),
    )
    optimizer = create_optimizer_v2(other, "adamw", lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay)
    cosine = CosineLRScheduler(optimizer, steps, t_in_epochs=False)
    largest = 0.0
    for step, one in zip(own_steps, batches):
        loss = functional.cross_entropy(other(one.images), one.labels)
        loss.backward()
        dispatch_clip_grad(other.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        cosine.step_update(step.number)
        largest = max(largest, abs(step.loss - loss.item()) / loss.item())
    torch.set_default_dtype(torch.float32)
    return largest


def vitrun(images: Path, epochs: int, seed: int, scratch: Path) -> float:
    """Return the top-1 accuracy in percent of one run of vitrun."""
    overrides = ["model=vit_ti4", "data=folder", f"data.path={images}", "data.area=[0.35,1]", f"batch={BATCH}"]
    overrides += [f"{key}={value}" for key, value in RECIPE.items()]
    overrides += [f"epochs={epochs}", f"seed={seed}", f"runs={scratch / 'runs'}", "--json"]
    output, _ = run_measured([sys.executable, "-m", "vitrun", "pretrain", *overrides], {})
    return json.loads(output)["top1"] * 100


def timm(script: Path, images: Path, epochs: int, seed: int, scratch: Path) -> float:
    """Return the final top-1 accuracy in percent of one run of timm, from our initial weights of the same seed."""
    row = tables.load_model_rows()["vit_ti4"]
    torch.manual_seed(random.derive_seed(seed, "weights"))
    first = scratch / f"first{seed}"
    export_model(models.build(row, 10, 32), 32, "timm", first, "")
    command = [sys.executable, script, images, *TIMM_ARGUMENTS, *AMP, "--epochs", epochs, "--seed", seed]
    command += ["--initial-checkpoint", first / "model.safetensors", "--output", scratch / "timm"]
    output, _ = run_measured([str(part) for part in command], UNFUSED)
    return float(re.findall(r"Test:.*?Acc@1:\s*[\d.]+\s*\(\s*([\d.]+)\)", output)[-1])


if __name__ == "__main__":
    main()
