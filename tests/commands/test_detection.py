"""A detector is trained, resumed and fine-tuned; commands that need features of a whole image refuse it."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from helpers.runs import hash_weights, interrupted_after, run_folder
from vitrun import models
from vitrun.config import resolve, unused
from vitrun.errors import ExitCode, UserError
from vitrun.models.export import export_model
from vitrun.recipes import tables
from vitrun.runs import cost, describe
from vitrun.runs.run_files import load_about, load_recipe
from vitrun.runs.status import list_statuses

WHOLE_IMAGES = {
    "finetune": ("data.test_images=20", "steps=2"),
    "fewshot": ("data=digits", "shots=1", "seeds=0"),
    "visualize": ("data=digits", "data.test_images=20"),
}
BOXES = ["data=boxes", "data.size=32", "res=32", "data.train_images=48", "data.test_images=20", "batch=16"]
PRETRAIN = ["objective=detection", *BOXES, "model.body.depth=2", "steps=5", "save_minutes=0"]
ONE_STEP = ["warmup=0", "steps=1"]


def test_a_detector_is_trained_killed_and_resumed_to_the_same_bits(run_command, tmp_path, monkeypatch):
    recipe, result = run_command("pretrain", *PRETRAIN)
    folder = run_folder(recipe, "pretrain")
    assert {"AP", "AP50", "loss"} <= {*result} and result["test_images"] == 20
    detections = json.loads((folder / "detections.json").read_text())
    assert len(detections) == 20 * 10 and {"image_id", "category_id", "bbox", "score"} == {*detections[0]}
    whole = hash_weights(recipe.runs)
    folder.rename(tmp_path / "whole")
    with interrupted_after(2, monkeypatch):
        run_command("pretrain", *PRETRAIN)
    assert run_command("pretrain", *PRETRAIN)[1]["AP"] == result["AP"]
    assert "Resuming from step 2" in (folder / "log.txt").read_text() and hash_weights(recipe.runs) == whole


def test_a_pretrained_vit_becomes_a_detector_and_that_another(run_command):
    vit, _ = run_command("pretrain", "model=vit_nano8", "data=shapes", "data.train_images=16", "batch=8", *ONE_STEP)
    recipe, result = run_command("finetune", *BOXES, *ONE_STEP, "body_lr=1e-5", "eval.every=1", "dev=0.2")
    assert 0 <= result["AP"] <= 1 and "eval_AP50" in result
    folder = run_folder(recipe, "finetune")
    (weights,) = (folder / "checkpoints").glob("*/model.safetensors")
    loaded = models.load(weights)
    assert loaded.model.tokens == 10 and loaded.model.body.name == "vit_nano8" and loaded.names[0] == "disc"
    pretrained = models.load(next(recipe.runs.glob("pretrain-*/checkpoints/*/model.safetensors")))
    moved = [
        (loaded.network.body.state_dict()[name] - tensor).abs().max()
        for name, tensor in pretrained.network.state_dict().items()
        if name.startswith("blocks.")
    ]
    assert 0 < max(moved) < 2e-5, "the body has a learning rate of its own"
    facts = describe.describe_run("finetune", load_recipe(folder), recipe.runs)
    assert facts["model"] == "yolos_nano"
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loaded.network.eval()(torch.zeros(1, 3, 32, 32))
    recorded = load_about(folder)[cost.MACS_KEY]
    assert 2 * recorded == counter.get_total_flops(), "the decoder and the detection tokens are counted"
    assert 0.9 < cost.count_run_macs(load_recipe(folder), "32", recipe.runs) / recorded <= 1, "but for the classes"
    (status,) = list_statuses(recipe.runs, [folder.name])
    assert status.ap == result["AP"] and status.top1 is None
    again, _ = run_command("finetune", *BOXES, *ONE_STEP, f"init={folder.name}", "data.kinds=3")
    (weights,) = (run_folder(again, "finetune") / "checkpoints").glob("*/model.safetensors")
    assert models.load(weights).classes == 3
    _, kept = run_command("finetune", *BOXES, *ONE_STEP, f"init={folder.name}", "head=keep", "optim.lr=1e-9")
    assert kept["loss"] == pytest.approx(result["loss"], rel=0.05)


def test_a_dry_run_plans_a_detector(run_command):
    _, cost = run_command("finetune", *BOXES, *ONE_STEP, "init=random:vit_nano8", dry=True)
    assert cost["steps"] == 1 and cost["seconds_a_step"] > 0
    _, planned = run_command("finetune", *BOXES, *ONE_STEP, "init=random:vit_nano8", "on=h100x2")
    assert planned["fits"]


@pytest.mark.parametrize(
    ("command", "overrides", "option"),
    [
        ("pretrain", ["objective=detection"], "data"),
        ("pretrain", ["model=yolos_nano", "data=boxes"], "objective"),
        ("pretrain", ["objective=detection", "data=boxes", "model=vit_nano8"], "objective"),
        ("pretrain", ["objective=detection", "data=boxes", "fewshot.every=50%"], "fewshot.every"),
        ("pretrain", ["objective=detection", "data=boxes", "augment=light1"], "augment.layers"),
        ("finetune", ["data=boxes", "view.resize=rectangle"], "view.resize"),
        ("finetune", ["data=boxes", "smoothing=0.1"], "smoothing"),
        ("finetune", ["data=boxes", "loss=sigmoid"], "loss"),
        ("finetune", ["data=digits", "detect.model=yolos_ti"], "detect.model"),
        ("finetune", ["data=boxes", "detect.model=vit_b16"], "detect.model"),
        ("finetune", ["data=boxes", "detect.model=yolos"], "detect.model"),
        ("finetune", ["data=boxes", "body_lr=1e-4", "optim.layer_decay=0.5"], "body_lr"),
    ],
)
def test_options_that_do_not_belong_to_detection_are_refused(command, overrides, option):
    init = ["init=random:vit_nano8"] * (command == "finetune")
    with pytest.raises(UserError) as raised:
        unused.check_unused(command, [(overrides, resolve.resolve_recipe(command, [*init, *overrides]))])
    assert raised.value.option == option and len(str(raised.value)) < 400


@pytest.mark.parametrize("command", WHOLE_IMAGES)
def test_a_command_that_needs_a_whole_image_refuses_a_detector(run_command, command):
    with pytest.raises(UserError, match="finds objects") as raised:
        run_command(command, "init=random:yolos_nano", "res=32", *WHOLE_IMAGES[command])
    assert raised.value.option == "init" and raised.value.status == ExitCode.COMMAND


@pytest.mark.parametrize("to", ["timm", "npz"])
def test_a_format_without_a_place_for_boxes_refuses_a_detector(tmp_path, to):
    network = models.build(tables.load_model_row("yolos_nano"), 3, 16)
    with pytest.raises(UserError, match="finds objects") as raised:
        export_model(network, 16, to, tmp_path / f"detector.{to}", "card")
    assert raised.value.option == "to"


def test_a_detector_is_traced_for_batches_of_any_size():
    row = tables.load_model_row("yolos_nano")
    row = replace(row, body=replace(row.body, depth=1), decoder=1)
    size = {0: torch.export.Dim("batch")}
    torch.export.export(models.build(row, 3, 16).eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes={"images": size})
