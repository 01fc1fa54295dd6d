"""generate completes images with an ImageGPT that was pretrained, and refuses networks that cannot."""

import numpy as np
import pytest
from PIL import Image

from helpers.runs import run_folder
from vitrun.errors import ExitCode, UserError

SHAPES = ["data=shapes", "data.train_images=64", "data.test_images=16", "data.size=16", "res=8", "steps=2", "batch=16"]
IGPT = ["protocol=igpt", "model=igpt_nano", "model.colours=27", "model.depth=2", "model.width=16", "model.mlp=32"]
PIXELS = [*IGPT, *SHAPES, "warmup=1", "objective.palette=even", "optim.lr=0.01"]


def test_an_image_is_completed_in_the_same_way_again(run_command):
    _, pretrained = run_command("pretrain", *PIXELS)
    assert pretrained["pixel_bits"] == pytest.approx(pretrained["pixel_loss"] / np.log(2))
    arrays = []
    for batch in (32, 5):  # of which samples do not depend
        recipe, result = run_command("generate", "count=3", "samples=4", f"batch={batch}", "precision=fp32")
        folder = run_folder(recipe, "generate")
        arrays.append(np.load(folder / "samples.npz"))
        assert result["samples"] == 12 and result["images"] == 3
    samples, originals = arrays[0]["samples"], arrays[0]["originals"]
    assert np.array_equal(samples, arrays[1]["samples"])
    assert (samples[:, :, :32] == originals[:, None, :32]).all() and not (samples[:, 0] == samples[:, 1]).all()
    grid = Image.open(folder / "samples.png")
    assert grid.size == (6 * 96 + 5 * 8, 3 * 96 + 2 * 8)
    _, result = run_command("generate", "given=none", "count=2", "samples=2")
    assert result["samples"] == 4 and "images" not in result


def test_the_pretrained_network_is_finetuned_with_both_losses_and_probed_by_layer(run_command):
    recipe, _ = run_command("pretrain", *PIXELS)
    _, result = run_command(
        "finetune", "data=shapes", *SHAPES[1:4], "steps=2", "batch=16", "warmup=1", "generative=1", "train=last:1"
    )
    assert 0 <= result["top1"] <= 1
    options = ["probe=linear", "layers=all", "linear.pooling=mean", "linear.l2=[1]"]
    fewshot, result = run_command("fewshot", *SHAPES[:4], *options)
    assert result["best"] == result[result["best_layer"]]
    assert {f.name for f in (run_folder(fewshot, "fewshot") / "figures").iterdir()} >= {"layers.png", "layers.csv"}


@pytest.mark.parametrize(
    "command, overrides, option",
    [
        ("pretrain", ["objective=pixels", "model=vit_nano8"], "objective"),
        ("generate", ["init=random:vit_nano8", "given=none"], "init"),
        ("generate", ["init=random:igpt_nano", "given=none", "res=8"], "init"),  # untrained
        ("generate", ["init=random:igpt_nano", "given=none", "temperature=0"], "temperature"),
        ("pretrain", ["objective=pixels", "model=igpt_nano", "res=1024"], "res"),
        ("pretrain", ["objective=pixels", "model=igpt_nano", "smoothing=0.1"], "smoothing"),
    ],
)
def test_a_wrong_combination_is_refused(run_command, command, overrides, option):
    with pytest.raises(UserError) as error:
        run_command(command, *overrides)
    assert error.value.option == option and error.value.status in (ExitCode.COMMAND, ExitCode.CHECKPOINT)
