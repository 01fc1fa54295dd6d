"""ResNets with attention in the commands that take weights: fine-tuned, probed, exported and used for predictions."""

import numpy as np
import pytest
import torch

from vitrun import models
from vitrun.commands import export, predict
from vitrun.config import resolve
from vitrun.runtime.console import Screen


@pytest.mark.parametrize("model", ["aa_resnet_nano", "sasa_nano"])
def test_a_resnet_with_attention_is_fine_tuned_probed_exported_and_predicts(run_command, photographs, tmp_path, model):
    small = ["model.width=4", "steps=1", "warmup=0", "batch=4", "data.train_images=8", "data.test_images=8"]
    run_command("pretrain", f"model={model}", "data=shapes", *small)
    folder = ["data=folder", f"data.path={photographs}", "batch=4", "res=16"]
    _, tuned = run_command("finetune", *folder, "steps=1")
    _, probed = run_command("fewshot", *folder, "shots=1", "seeds=1")
    assert 0 <= tuned["top1"] <= 1 and probed
    overrides = [f"runs={tmp_path / 'runs'}", f"paths=[{photographs}]", f"save={tmp_path / 'p.csv'}"]
    predict.execute(resolve.resolve_recipe("predict", overrides), Screen(quiet=True))
    assert len((tmp_path / "p.csv").read_text().splitlines()) > 1
    if model == "sasa_nano":
        check_onnx(tmp_path)


def check_onnx(tmp_path):
    """Assert that onnxruntime gives the logits of the newest run, for a batch of another size than the export's."""
    session = pytest.importorskip("onnxruntime").InferenceSession
    overrides = [f"runs={tmp_path / 'runs'}", "to=onnx", f"path={tmp_path / 'network.onnx'}"]
    export.execute(resolve.resolve_recipe("export", overrides), Screen(quiet=True))
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    (logits,) = session(tmp_path / "network.onnx").run(None, {"images": images.numpy()})
    (run,) = (tmp_path / "runs").glob("finetune-*/checkpoints/step-*/model.safetensors")
    with torch.no_grad():
        np.testing.assert_allclose(logits, models.load(run).network.eval()(images).numpy(), rtol=0, atol=1e-4)
