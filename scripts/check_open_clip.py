"""Train a CLIP beside open_clip, from the same weights on the same batches, and compare losses and predictions.

    pip install 'vitrun[clip]'
    python scripts/check_open_clip.py [--steps 30] [--batch 32] [--micro-batch 12]

Both train a small CLIP with open_clip's optimizer settings: AdamW, decay 0.2 of matrices alone, betas 0.9 and 0.98,
epsilon 1e-6, warm-up and cosine, the temperature clamped after each step. vitrun's loop computes micro-batches,
open_clip the whole batch. Afterwards open_clip loads what vitrun trained, and both classify images by texts. It exits
with 1 if losses differ by more than 1e-4 or a prediction differs. No data and no download is needed; it takes seconds.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from functools import partial
from math import cos, pi
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor

from vitrun import data, models
from vitrun.engine import optim
from vitrun.engine.fit_options import FitOptions
from vitrun.engine.joint_loss import pass_outputs
from vitrun.engine.loop import fit
from vitrun.engine.state import TrainState
from vitrun.engine.zero_shot import build_classifier
from vitrun.models.clip_resnet import CLIP_MEAN, CLIP_STD
from vitrun.models.export import Target, export_model
from vitrun.models.export.clip_folders import open_clip_config
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats.open_clip import map_tensors
from vitrun.objectives.contrastive import LOSSES
from vitrun.recipes import Adam, tables
from vitrun.runtime.device import Machine

RES, LR, WARMUP, DECAY = 32, 5e-4, 5, 0.2
COLOURS = ["red", "green", "blue", "yellow", "white", "black", "pink", "grey"]
THINGS = ["ring", "star", "cross", "square"]
TEMPLATES = ["a photo of a {}.", "a drawing of a {}."]
TOLERANCE = 1e-4
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))


def main() -> int:
    """Compare both, print one line per step; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("--steps", 30), ("--batch", 32), ("--micro-batch", 12)):
        parser.add_argument(name, type=int, default=value)
    options = parser.parse_args()
    row = tables.load_model_row("clip_nano")
    row = replace(row, text=replace(row.text, tokens="clip", vocabulary=49_408))
    torch.manual_seed(0)
    network = models.build(row, 0, RES)
    theirs = copy_to_open_clip(network)
    batches = [make_batch(step, options.batch, models.build_tokenizer(row.text)) for step in range(options.steps)]
    lr = partial(schedule, steps=options.steps)
    ours, gap = train_ours(network, batches, lr, options.micro_batch), 0.0
    for step, (loss, other) in enumerate(zip(ours, train_theirs(theirs, batches, lr)), 1):
        gap = max(gap, abs(loss - other))
        print(f"step {step}: vitrun {loss:.6f}, open_clip {other:.6f}, difference {abs(loss - other):.1e}")
    with tempfile.TemporaryDirectory() as folder:
        export_model(network, RES, "open_clip", Target(Path(folder) / "trained"), "")
        theirs, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder}/trained")
    same, number = compare_predictions(network, theirs.eval())
    print(f"largest difference of losses {gap:.1e}; {same} of {number} zero-shot predictions are equal")
    return int(gap > TOLERANCE or same < number)


def schedule(step: int, steps: int) -> float:
    """Return the learning rate: a warm-up, then a cosine."""
    return LR * min(step / WARMUP, 0.5 * (1 + cos(pi * (step - WARMUP) / (steps - WARMUP))))


def copy_to_open_clip(network: models.Clip) -> torch.nn.Module:
    """Return open_clip's network with the same weights.

    An export would scale the first layer for images that are normalised as CLIP's, and Adam's steps are not scaled
    with it: both train on images in [-1, 1] here.
    """
    theirs = open_clip.CLIP(**open_clip_config(network.row, RES))
    theirs.load_state_dict(export_tensors(map_tensors(network.row), network.state_dict()))
    return theirs.train()


def make_batch(step: int, size: int, tokenizer: models.Tokenizer) -> data.Batch:
    """Return noisy images in [-1, 1], whose colour and pattern are those of a thing, and captions that name both."""
    generator = torch.Generator().manual_seed(step)
    numbers = torch.randint(1000, (size, 2), generator=generator)
    colours, things = numbers[:, 0] % len(COLOURS), numbers[:, 1] % len(THINGS)
    waves = torch.sin(torch.arange(RES) * (1 + things[:, None]) / 3)  # [B, R]
    levels = torch.stack([colours % 2, colours // 2 % 2, colours // 4], 1) - 0.5  # [B, 3]
    noise = torch.rand(size, 3, RES, RES, generator=generator) - 0.5
    images = (levels[:, :, None, None] * (1 + waves[:, None, None]) / 2 + noise).clamp(-1, 1)
    captions = [f"a {COLOURS[i]} {THINGS[j]}" for i, j in zip(colours.tolist(), things.tolist())]
    places = torch.arange(size)
    return data.Batch(images, places, np.arange(size), inputs=(tokenizer(captions),))


def train_ours(network: models.Clip, batches: list[data.Batch], lr, micro_batch: int) -> list[float]:
    """Return the loss of each step of vitrun's loop."""
    adam = Adam(
        kind="adamw", lr=LR, weight_decay=DECAY, decay_units="paper", head_decay=None, decay="matrices",
        layer_decay=1.0, betas=(0.9, 0.98), epsilon=1e-6,
    )  # fmt: skip
    state = TrainState(network, optim.build_optimizer(adam, network), None, 0, micro_batch)
    options = FitOptions(
        LOSSES["softmax"], len(batches[0].labels), lr, None, None, 0, Machine("cpu", "fp32"), lambda images: None,
        first_pass=pass_outputs,
    )  # fmt: skip
    return [step.loss for step in fit(state, batches, options)]


def train_theirs(network: torch.nn.Module, batches: list[data.Batch], lr) -> list[float]:
    """Return the loss of each step as open_clip_train computes it: its loss, its groups of parameters, its clamp."""
    named = list(network.named_parameters())
    gains = [p for name, p in named if p.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))]
    others = [p for _, p in named if all(p is not gain for gain in gains)]
    groups = [{"params": gains, "weight_decay": 0.0}, {"params": others, "weight_decay": DECAY}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.98), eps=1e-6)
    loss_of, losses = open_clip.ClipLoss(), []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr(step)
        optimizer.zero_grad()
        loss = loss_of(*network(batch.images, batch.inputs[0])[:3])
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            network.logit_scale.clamp_(0, np.log(100))
        losses.append(loss.item())
    return losses


def normalize(images: Tensor) -> Tensor:
    """Return images as open_clip's networks take them, of images in [-1, 1]."""
    return ((images + 1) / 2 - MEAN) / STD


@torch.no_grad()
def compare_predictions(network: models.Clip, theirs: torch.nn.Module) -> tuple[int, int]:
    """Return how many of the images both put into the same class, by texts about the things, and how many there are."""
    network.eval()
    images = torch.rand(256, 3, RES, RES, generator=torch.Generator().manual_seed(-1)) * 2 - 1
    names = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    texts = [[template.replace("{}", name) for template in TEMPLATES] for name in names]
    rows = build_classifier(network, texts, Machine("cpu", "fp32"))
    ours = (network.encode_image(images, normalize=True) @ rows.T).argmax(1)
    templates = [lambda name, template=template: template.replace("{}", name) for template in TEMPLATES]
    classifier = open_clip.build_zero_shot_classifier(theirs, open_clip.tokenize, names, templates)
    other = (theirs.encode_image(normalize(images), normalize=True) @ classifier).argmax(1)
    return int((ours == other).sum()), len(images)


if __name__ == "__main__":
    sys.exit(main())
