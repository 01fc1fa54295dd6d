"""``vitrun eval``: count how often a model's answers on a test set are right."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitrun import data, models, recipes
from vitrun.engine import weights
from vitrun.engine.inference import predict
from vitrun.engine.inputs import make_eval_batches, open_parts
from vitrun.errors import ExitCode, UserError
from vitrun.objectives.labels import LOSSES, check_loss
from vitrun.runs import exclude
from vitrun.runs.lookup import load_saved_recipe
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Eval, run: Run) -> dict[str, Any]:
    """Top-1, top-5 and loss over every image of the test part, and ``preds.parquet`` with the answer to each.

    With ``dedup`` also the number of duplicates, and top-1 without them (as arXiv 1912.11370, appendix C).
    """
    machine = Machine(recipe.device, recipe.precision)
    weights.check_init(recipe.init, recipe.res)
    (test,) = open_parts(recipe.data, ("test",), run, recipe.bad_images == "skip")
    doubled = find_duplicates(recipe, test) if recipe.dedup else None
    loaded = weights.load_init(recipe.init, recipe.runs, 0, run.log, res=recipe.res)
    network = match_classes(loaded, test, recipe.init, recipe.data.name)
    check_class_names(loaded.names, test, recipe.init, run.warn)
    if network is not loaded.network:
        allowed = len(np.unique(test.imagenet_labels))
        run.log(f"answers: the likeliest of {allowed} of the model's {loaded.classes:,} classes")
    loss = (load_saved_recipe(recipe.init, recipe.runs) or {}).get("loss", "softmax")
    check_loss(loss, test)
    if run.dry:
        return {"test_images": len(test)}
    batches = make_eval_batches(test, loaded.res, recipe.view, recipe.batch, machine)
    with run.screen.progress(run.command, len(test), 0) as bar:
        found = predict(network.to(machine.device), batches, LOSSES[loss], machine, run.progress_callback(bar))
    run.write_file("preds.parquet", lambda path: write_predictions(path, found, test))
    right = test.correct_labels[found.indices]
    accuracy = {"top1": found.accuracy(1, right), "top5": found.accuracy(5, right)}
    if test.accepted is None:  # a loss against one of several right labels would mean nothing
        accuracy["loss"] = float(found.losses.mean())
    if doubled is not None:
        here = doubled[found.indices]
        accuracy |= {"top1_dedup": found.accuracy(1, np.where(here[:, None], -1, right)), "dups": int(here.sum())}
    return {**accuracy, "images_used": int((right >= 0).any(1).sum()), "images_expected": len(test) + test.skipped}


def find_duplicates(recipe: recipes.Eval, test: data.Split) -> np.ndarray:
    """Which test images the dedup run found in a training set [N]; a UserError where it looked for others."""
    keys = exclude.load_duplicate_keys(recipe.dedup, recipe.runs, test.identity)
    doubled = np.array([key in keys for key in test.keys])
    if not (test.correct_labels[~doubled] >= 0).any():
        raise UserError(f"dedup={recipe.dedup}: every test image is a duplicate, so that none is left.", ExitCode.DATA)
    return doubled


def match_classes(loaded: models.LoadedModel, test: data.Split, init: str, name: str) -> nn.Module:
    """The network, with answers among the classes of the test set where those are ImageNet's; a UserError where not."""
    if test.imagenet_labels is not None and loaded.classes == data.IMAGENET_CLASSES:
        return ClassSubset(loaded.network, test.imagenet_labels)
    if loaded.classes == len(test.classes):
        return loaded.network
    if not loaded.classes:
        raise UserError(
            f"{init} was trained without labels and has no head: fine-tune it first (vitrun finetune data={name} "
            f"init={init}).",
            ExitCode.COMMAND,
        )
    of_imagenet = test.imagenet_labels is not None or len(test.classes) == data.IMAGENET_CLASSES
    raise UserError(
        f"{init} has a head of {loaded.classes} classes, but {name} has {len(test.classes)}: fine-tune first "
        f"(vitrun finetune data={'imagenet' if of_imagenet else name}), or give the init of such a model.",
        ExitCode.COMMAND,
    )


def check_class_names(names: Sequence[str], test: data.Split, init: str, warn: Callable[[str], None]) -> None:
    """A warning where the test set's classes are called otherwise than those of the weights, whose order they follow.

    A UserError where they are the same in another order. Numbers are no names.
    """
    called = test.classes
    if called == names or not names or test.imagenet_labels is not None or all(map(str.isdecimal, [*names, *called])):
        return
    number, (own, other) = next((i, pair) for i, pair in enumerate(zip(names, called)) if pair[0] != pair[1])
    if sorted(names) == sorted(called):
        raise UserError(
            f"{init} was trained on these classes in another order: its class {number} is {own}, here it is {other}. "
            "Name the folders, or label the images, so that the order is the same.",
            ExitCode.DATA,
        )
    warn(f"class {number} is called {own} where {init} was trained and {other} here: classes are matched by order")


class ClassSubset(nn.Module):
    """A network that answers [B, C] with the likeliest of the labels of ImageNet [C, A] that stand for each class."""

    def __init__(self, network: nn.Module, labels: np.ndarray):
        super().__init__()
        self.network = network
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C]."""
        return self.network(images)[:, self.labels].amax(-1)  # [B, C, A] -> [B, C]


def write_predictions(path: Any, found: Any, test: data.Split) -> None:
    """A Parquet table: of each image id, label or labels, likeliest classes, and where it has a list the right ones."""
    import pyarrow
    import pyarrow.parquet

    labels = found.labels.tolist() if found.labels.ndim == 1 else strip_padding(found.labels)
    columns = {"id": [test.keys[i] for i in found.indices], "label": labels, "top5": found.top_classes.tolist()}
    if test.accepted is not None:
        columns["right"] = strip_padding(test.correct_labels[found.indices])
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def strip_padding(labels: np.ndarray) -> list[list[int]]:
    """Lists of labels padded with -1 [N, K] as they were."""
    return [[label for label in row if label >= 0] for row in labels.tolist()]
