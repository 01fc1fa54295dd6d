"""Weights of transformers load as the published network."""

import json

import pytest
import torch

from helpers.networks import build_randomized, compute_logits, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.errors import UserError
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import hugging_face


@pytest.mark.parametrize("names", ["files", "memory"])
def test_weights_of_transformers_load_as_the_same_network(tmp_path, names):
    from safetensors.torch import save_file

    row, network = tiny_vit_row(), build_randomized(tiny_vit_row())
    tensors = export_tensors(hugging_face.map_tensors(row), network.state_dict())
    tensors = {name if name.startswith("classifier") else f"vit.{name}": tensor for name, tensor in tensors.items()}
    if names == "memory":  # transformers 5 renamed its modules and writes files by the older names
        renames = [("encoder.layer.", "layers."), ("attention.attention.query", "attention.q_proj")]
        renames += [("attention.attention.key", "attention.k_proj"), ("attention.attention.value", "attention.v_proj")]
        renames += [
            ("attention.output.dense", "attention.o_proj"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
        ]
        for old, new in renames:
            tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        json.dumps({"num_attention_heads": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-12})
    )
    loaded = models.load(tmp_path)
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))
    assert "GELU" in loaded.report.lines()[4] and "1e-12" in loaded.report.lines()[5]


def test_another_image_normalization_is_folded_into_the_patch_embedding(tmp_path):
    from safetensors.torch import save_file

    row, network = tiny_vit_row(), build_randomized(tiny_vit_row())
    save_file(export_tensors(hugging_face.map_tensors(row), network.state_dict()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3}))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": std}))
    theirs = ((make_inputs() + 1) / 2 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(
        compute_logits(models.load(tmp_path).network, make_inputs()),
        compute_logits(network, theirs),
        atol=1e-5,
        rtol=1e-5,
    )


def test_the_pooler_of_a_transformers_base_model_becomes_the_pre_logits_layer(tmp_path):
    from safetensors.torch import save_file

    row, network = tiny_vit_row(pre_logits=True), build_randomized(tiny_vit_row(pre_logits=True))
    tensors = export_tensors(hugging_face.map_tensors(row), network.state_dict())
    save_file(
        {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")},
        tmp_path / "m.safetensors",
    )
    with pytest.raises(UserError, match="how many heads"):
        models.load(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").rename(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3}))
    with pytest.raises(UserError, match="without a head"):
        models.load(tmp_path)
    assert not models.load(tmp_path, classes=7).model.pre_logits
