"""Fine-tuning agrees with the published JAX code, if its reference vectors are beside the checkout."""

import numpy as np
import pytest
import torch

from helpers.overrides import TINY
from helpers.runs import hash_weights
from vitrun import data
from vitrun.config import resolve
from vitrun.engine import weights
from vitrun.engine.loop import fit
from vitrun.engine.trainer import Trainer
from vitrun.objectives.labels import LabelObjective
from vitrun.runs.run import Run
from vitrun.runtime.console import Screen
from vitrun.runtime.device import Machine


def to_nchw(array: np.ndarray) -> torch.Tensor:
    """Convert NHWC to NCHW."""
    return torch.from_numpy(array).permute(*range(array.ndim - 3), -1, -3, -2).contiguous()


@pytest.mark.shared
def test_twenty_five_steps_of_fine_tuning_follow_the_published_curve(shared, tmp_path):
    """Compare losses, norms and learning rates, from the overrides of a user through the functions of ``train``."""
    weights_file = shared / "golden" / "finetune_curve.npz"
    reference = np.load(weights_file)
    overrides = ["steps=25", "warmup=5", "optim.lr=0.05", "batch=8", "micro_batch=4", "precision=fp32", "device=cpu"]
    recipe = resolve.resolve_recipe("finetune", [f"init={weights_file}", f"runs={tmp_path}", *overrides])
    run = Run("finetune", recipe, Screen(quiet=True), dry=True)
    loaded = weights.load_for_run(recipe, run, recipe.seed)  # with its head, from which the curve starts
    x, y = (
        to_nchw(reference["io/images_nhwc"]),
        torch.from_numpy(reference["io/labels"]).long(),
    )  # [25, 8, ...], [25, 8]
    batches = [data.Batch(*step, np.arange(8)) for step in zip(x, y)]
    machine = Machine(recipe.device, recipe.precision)
    objective = LabelObjective.from_recipe(recipe)
    trainer = Trainer(recipe, loaded, objective, batches * 8, [], run, machine)  # only its length is used
    options = trainer.fit_options(run.raise_if_interrupted)
    steps = list(fit(trainer.state, trainer.prepare_batches(batches), options))
    np.testing.assert_allclose([s.lr for s in steps], reference["io/lr"], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose([s.loss for s in steps], reference["io/loss"], rtol=1e-4)
    np.testing.assert_allclose([s.norm for s in steps], reference["io/grad_norm"], rtol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(loaded.network.eval()(x[0]), reference["io/logits_after"], atol=1e-4)


def test_images_that_the_device_scales_and_mixes_give_the_same_weights_and_predictions(
    run_command, tmp_path, monkeypatch, photographs
):
    options = [*(o for o in TINY if not o.startswith("data")), "data=folder", f"data.path={photographs}"]
    options += ["augment.mixup=0.2", "augment.cutmix=1", "augment.randaugment=big_vision"]
    options += ["augment.layers=2", "augment.magnitude=10"]
    load, types = data.Batch.load_images, set()

    def record(batch, *arguments):
        types.update([batch.pixels.dtype] if batch.keys else [])  # a blank batch has none
        return load(batch, *arguments)

    monkeypatch.setattr(data.Batch, "load_images", record)
    _, result = run_command("pretrain", *options)
    (tmp_path / "runs").rename(tmp_path / "floats")
    assert types == {torch.float32}
    monkeypatch.setattr(Machine, "takes_levels", True)
    types.clear()
    _, again = run_command("pretrain", *options)
    assert types == {torch.uint8} and again["loss"] == result["loss"]
    assert hash_weights(tmp_path / "runs") == hash_weights(tmp_path / "floats")
