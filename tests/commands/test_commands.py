"""Each command runs end to end on a few images, one after another."""

import json

import pytest

from helpers.overrides import TINY
from helpers.runs import run_folder
from vitrun.commands import compare
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.runs import run
from vitrun.runs.classification import calibrate_table
from vitrun.runs.predictions import load_predictions
from vitrun.runtime.console import Screen


def test_the_five_commands_follow_each_other(run_command, tmp_path, capsys):
    recipe, result = run_command("pretrain", *TINY)
    assert result["test_images"] == 50 and result["steps"] == 6
    assert {f.name for f in run_folder(recipe, "pretrain").iterdir()} >= {
        "about.json", "checkpoints", "log.txt", "metrics.jsonl", "recipe.yaml", "result.json"
    }  # fmt: skip
    pretrained = run.run_name("pretrain", recipe)

    recipe, result = run_command(
        "finetune", "steps=3", "epochs=null", "res=64", "batch=32", "warmup=1", "data.test_images=40"
    )
    assert recipe.init == pretrained, "latest is the pretraining run"
    log = (run_folder(recipe, "finetune") / "log.txt").read_text()
    assert load_predictions(run_folder(recipe, "finetune")).is_correct.mean() == pytest.approx(result["top1"])
    assert "4x4 -> 8x8" in log and "head of 120 classes" in log and "zero head of 10 classes" in log

    _, result = run_command("fewshot", "shots=1,5", "seeds=0,1", "data.test_images=40")
    assert all(0 < result["metrics"][name]["std"] < 1 for name in ("shot1", "shot5"))

    recipe, result = run_command("eval")
    assert recipe.init.startswith("finetune-"), "the newest model with a head"
    assert result["images_used"] == result["images_expected"] == 40
    predictions = load_predictions(run_folder(recipe, "eval"))
    assert len({*predictions.keys}) == 40, "every image exactly once"
    assert predictions.is_correct.mean() == pytest.approx(result["top1"])
    assert predictions.losses.mean() == pytest.approx(result["loss"]) and predictions.classes[3] == "3"
    assert calibrate_table(predictions).ece == result["ece"]

    table = resolve.resolve_recipe("compare", [f"runs={tmp_path / 'runs'}", f"save={tmp_path / 'table'}"])
    compare.execute(table, Screen())
    shown = capsys.readouterr().out
    for heading in ("shapes: pretrain, vit_nano8, from scratch", "digits: vit_nano8", "digits: fewshot, vit_nano8"):
        assert f"### {heading}" in shown
    assert (tmp_path / "table.csv").exists() and json.loads((tmp_path / "table.json").read_text())


UNBUILDABLE = [
    ("pretrain", ["model=timm", "model.name=resnet5O"], "Unknown timm model 'resnet5O'"),
    ("pretrain", ["model=timm", "model.name=convnext_atto", "res=8"], "res=8: convnext_atto does not take images"),
    ("pretrain", ["model=timm", "model.name=vit_tiny_r_s16_p8_224", "res=40"], "at res=40: the size does not fit"),
    ("finetune", ["init=timm:vit_base_patch61_224.x"], "timm has no weights for vit_base_patch61_224"),
    ("fewshot", ["init=random:vit_b16", "res=100"], "res=100: is not a multiple of 16"),
    ("eval", ["init=timm:resnet50.x"], "timm:resnet50.x names no weights"),
    ("dedup", ["init=timm:resnet50.x"], "timm:resnet50.x names no weights"),
]


@pytest.mark.parametrize(
    "command, overrides, sentence",
    UNBUILDABLE,
    ids=[" ".join([command, *overrides]) for command, overrides, _ in UNBUILDABLE],
)
def test_a_network_that_cannot_be_built_is_refused_before_the_data_is_opened(
    command, overrides, sentence, run_command, tmp_path
):
    with pytest.raises(UserError, match=sentence):
        run_command(command, *overrides, "data=folder", f"data.path={tmp_path}")  # which has no images
    assert not any((tmp_path / "runs").glob("*")), "no folder is left"
