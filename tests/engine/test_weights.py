"""Which weights ``init`` and ``init_weights`` name, for each command that takes them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from helpers.networks import build_randomized, tiny_vit_row
from vitrun.errors import ExitCode, UserError
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import hugging_face
from vitrun.recipes import tables
from vitrun.runs.run import run_name

DATA = ("data=shapes", "data.train_images=24", "data.test_images=8", "precision=fp32")


@pytest.fixture
def checkpoint(tmp_path):
    """Return a file of a training program with plain and averaged weights."""
    row = tables.load_model_row("vit_ti8")
    plain, ema = (build_randomized(row, 120, 16, seed).state_dict() for seed in (0, 1))
    torch.save({"state_dict": plain, "state_dict_ema": ema, "epoch": 3}, tmp_path / "w.pth.tar")
    return tmp_path / "w.pth.tar"


def test_init_weights_chooses_for_every_command(run_command, checkpoint, tmp_path):
    for command, *more in (["eval"], ["finetune", "steps=1"], ["fewshot", "shots=[1]"], ["dedup"]):
        saved = {}
        for choice in ("auto", "plain"):
            overrides = (f"init={checkpoint}", f"init_weights={choice}", *DATA, "res=16", *more)
            recipe, _ = run_command(command, *overrides)
            saved[choice] = (recipe.runs / run_name(command, recipe) / "log.txt").read_text()
        assert "averaged ones in state_dict_ema are used" in saved["auto"]
        assert "plain ones in state_dict are used" in saved["plain"]


def test_commands_that_do_not_use_the_head_take_weights_without_one(run_command, tmp_path):
    row = tiny_vit_row()
    tensors = export_tensors(hugging_face.map_tensors(row), build_randomized(row).state_dict())
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")}
    save_file(body, tmp_path / "model.safetensors")
    config = {"num_attention_heads": 3, "hidden_act": "gelu_pytorch_tanh"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for command, *more in (["fewshot", "shots=[1]"], ["dedup"], ["visualize", "count=2", "shown=0"]):
        run_command(command, f"init={tmp_path}", *DATA, *more)
    with pytest.raises(UserError, match="without a head"):
        run_command("eval", f"init={tmp_path}", *DATA)


def test_a_run_with_an_average_has_plain_weights_too(run_command):
    run_command("pretrain", "model=vit_nano8", "res=16", "steps=3", "batch=8", "ema=0.5", *DATA)
    _, auto = run_command("eval", *DATA)
    _, plain = run_command("eval", "init_weights=plain", *DATA)
    assert plain["loss"] != auto["loss"] == run_command("eval", "init_weights=ema", *DATA)[1]["loss"]
    with pytest.raises(UserError) as error:
        run_command("eval", "init_weights=mine", *DATA)
    assert (error.value.status, error.value.option) == (ExitCode.CHECKPOINT, "init_weights")
