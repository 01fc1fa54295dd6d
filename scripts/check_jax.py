"""Compare training steps of vitrun with those of the published JAX code, from the same weights on the same batches.

    python scripts/check_jax.py --python JAX/bin/python --vision-transformer CHECKOUT --big-vision CHECKOUT

Needs a Python with ``pip install "jax[cpu]" flax optax ml_collections einops packaging pandas scipy tqdm``, and
checkouts of google-research/vision_transformer and google-research/big_vision. The steps of vitrun are those of the
commands ``vitrun pretrain`` and ``vitrun finetune``, with the values of published recipes and a small model; the
weights are passed on by ``export to=npz``. Loss, optimizer, schedule and fixed positions of the other side are those of
the published code; images, labels and their order are those of vitrun.

The tolerance is that of the golden curve, 1e-4. Float32 alone leaves 1e-6: ``rounding`` is the difference of the JAX
code from itself with the images of each batch in reverse order. An error in the implementation leaves more: decay of
all parameters 3e-2 in the loss, Adam's epsilon at 1e-7 1e-3, LayerNorm's at 1e-5 2e-3 in the norm; but the form of GELU
only 1e-5 in a network as small as this, so that it is checked elsewhere. Takes three minutes of one core.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from vitrun import commands, data, models
from vitrun.config import resolve
from vitrun.engine import loop, trainer
from vitrun.engine.state import TrainState
from vitrun.models.export import export_model
from vitrun.recipes import trees
from vitrun.runs import execution
from vitrun.runtime.console import Screen
from vitrun.runtime.text_tables import format_table

STEPS, SHOWN = 50, 5  # of which every fifth is printed
TOLERANCE = 1e-4  # relative, of a loss or a norm
SMALL = ["steps=50", "warmup=10", "batch=64", "precision=fp32", "device=cpu"]
SHAPES = ["model=vit_nano8", "data=shapes", "data.train_images=4000", "data.test_images=100", "res=32", *SMALL]
IMAGENET = ["model=vit_b16", "data=imagenet"]
CASES = {  # name: the command, the repository of the model, the overrides of a recipe, and those that make it small
    "imagenet21k": ("pretrain", "vision_transformer", ["model=vit_b16", "data=imagenet21k", "data.path=/"], SHAPES),
    "imagenet": ("pretrain", "vision_transformer", IMAGENET, SHAPES),
    "better_vit": ("pretrain", "big_vision", ["model=vit_s16", "data=imagenet", "protocol=better_vit"], SHAPES),
    "map_head": (
        "pretrain", "big_vision", [*IMAGENET, "model.head=map", "model.pre_logits=false", "optim.lr=1e-3"], SHAPES
    ),
    "finetune": (
        "finetune", "vision_transformer", ["init=random:vit_b16", "data=cifar100", "protocol=paper_table4"],
        ["data=digits", "res=48", *SMALL],
    ),
}  # fmt: skip
# The options that a case takes from its published recipe; not dropout and augmentation, whose draws differ there.
PUBLISHED_OPTIONS = ("loss", "schedule", "schedule_end", "clip", "optim.lr", "optim.weight_decay", "optim.decay_units")
PUBLISHED_OPTIONS += ("model.head", "model.positions", "model.pre_logits")


@dataclass
class Recorder:
    """Wrap ``fit`` of a command: save the network before the first step, and record the batches and the steps."""

    network: Path
    batches: list[data.Batch] = field(default_factory=list)
    steps: list[loop.Step] = field(default_factory=list)

    def fit(self, state: TrainState, batches: Iterable[data.Batch], options: loop.FitOptions) -> Iterator[loop.Step]:
        """Run :func:`loop.fit` and record its steps."""
        row = state.network.row
        self.row, self.classes = row, state.network.head.out_features
        self.bias = state.network.head.bias[0].item()
        export_model(state.network, state.network.side * row.stride, "npz", self.network, "")
        for step in loop.fit(state, self.record_batches(batches), options):
            self.steps.append(step)
            yield step

    def record_batches(self, batches: Iterable[data.Batch]) -> Iterator[data.Batch]:
        """Yield the batches and record them."""
        for batch in batches:
            self.batches.append(batch)
            yield batch


def main() -> None:
    """Print a table and a verdict for each case; exit with 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="a Python with JAX")
    parser.add_argument("--vision-transformer", type=Path, required=True, help="its checkout")
    parser.add_argument("--big-vision", type=Path, required=True, help="its checkout")
    options = parser.parse_args()
    theirs = [options.python, Path(__file__).with_name("jax_steps.py")]
    checkouts = [options.vision_transformer.absolute(), options.big_vision.absolute()]
    agreed = []
    with tempfile.TemporaryDirectory() as name:
        weights = None
        for case, (command, code, published, small) in CASES.items():
            folder = Path(name) / case
            folder.mkdir()
            overrides = [*published_overrides(command, published), *small]
            if command == "finetune":
                overrides = [*overrides, f"init={weights}"]
            weights = weights or folder / "trained.npz"
            ours = vitrun(command, code, [*overrides, f"runs={folder}"], folder)
            subprocess.run([*theirs, folder, *checkouts], check=True)
            agreed.append(compare_steps(case, overrides, ours, dict(np.load(folder / "theirs.npz"))))
    sys.exit(not all(agreed))


def published_overrides(command: str, published: list[str]) -> list[str]:
    """Return the overrides that set ``PUBLISHED_OPTIONS`` as a published recipe does."""
    tree = trees.to_plain_tree(resolve.resolve_recipe(command, published))
    here = set(trees.iterate_keys(tree))
    return [f"{key}={trees.format_value(trees.get_value(tree, key))}" for key in PUBLISHED_OPTIONS if key in here]


def vitrun(command: str, code: str, overrides: list[str], folder: Path) -> dict[str, np.ndarray]:
    """Return loss, norm and learning rate of each step of vitrun; write inputs for ``jax_steps.py`` to ``folder``."""
    recipe = resolve.resolve_recipe(command, overrides)
    recorder = Recorder(folder / "weights.npz")
    trainer.fit = recorder.fit
    execution.execute_run(command, recipe, Screen(quiet=True), commands.import_command(command).execute)
    if command == "finetune":  # both adapt the head and the positions of the same file
        (folder / "weights.npz").write_bytes(Path(recipe.init.partition("#")[0]).read_bytes())
    else:
        trained = models.load(next(folder.glob("*/checkpoints/*/model.safetensors")))
        export_model(trained.network, trained.res, "npz", folder / "trained.npz", "")
    plain = trees.to_plain_tree(recipe)
    case = {key: plain[key] for key in ("optim", "loss", "schedule", "schedule_end", "clip", "steps", "warmup")}
    case |= {"code": code, "model": asdict(recorder.row), "classes": recorder.classes, "head_bias": recorder.bias}
    (folder / "case.json").write_text(json.dumps(case))
    images, labels = zip(*((batch.images.numpy(), batch.labels.numpy()) for batch in recorder.batches))
    np.savez(folder / "batches.npz", images=np.stack(images), labels=np.stack(labels))
    return {key: np.array([getattr(step, key) for step in recorder.steps]) for key in ("loss", "norm", "lr")}


def compare_steps(case: str, overrides: list[str], ours: dict, theirs: dict) -> bool:
    """Print the steps of one case side by side; return whether all losses, norms and learning rates agree."""
    print(f"\n{case}: {' '.join(override for override in overrides if not override.startswith('init='))}\n")
    differences = {key: relative_differences(ours[key], theirs[key]) for key in ("loss", "norm", "lr")}
    rows = [
        [str(step), f"{theirs['lr'][step]:.3g}"]
        + [
            text
            for key in ("loss", "norm")
            for text in (f"{theirs[key][step]:.6f}", f"{ours[key][step]:.6f}", f"{differences[key][step]:.1e}")
        ]
        for step in [*range(0, STEPS, SHOWN), STEPS - 1]
    ]
    header = ["step", "lr", "their loss", "our loss", "difference", "their norm", "our norm", "difference"]
    print(format_table(header, rows))
    agree = all(difference.max() <= TOLERANCE for difference in differences.values())
    print(
        f"{'AGREE' if agree else 'DIFFER'} in {STEPS} steps: relative differences of at most "
        + ", ".join(f"{difference.max():.1e} in the {key}" for key, difference in differences.items())
    )
    for kind, what in (("backwards", "rounding"), ("published", "their momentum in bfloat16, as published")):
        if f"loss_{kind}" in theirs:
            numbers = [
                f"{relative_differences(theirs[f'{key}_{kind}'], theirs[key]).max():.1e} in the {key}"
                for key in ("loss", "norm")
            ]
            print(f"{what}: {', '.join(numbers)}")
    return agree


def relative_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the differences relative to ``second``, absolute where that is zero: [S]."""
    return np.abs(first - second) / np.where(second == 0, 1, np.abs(second))


if __name__ == "__main__":
    main()
