"""Weights of transformers load as the published network."""

import json

import numpy as np
import pytest
import torch

from helpers.networks import build_randomized, compute_logits, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import hugging_face
from vitrun.models.formats.hugging_face_config import config_normalization

ACT = {"hidden_act": "gelu_new", "layer_norm_eps": 1e-6}  # of the row of a tiny ViT
SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}


def save_theirs(folder, **options):
    """Save a random ViT of three classes with transformers, and its processor; return it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    labels = {"id2label": {0: "dog", 1: "cat", 2: "eel"}}
    config = {**SIZES, "image_size": 32, "patch_size": 8, "initializer_range": 0.3, **labels, **options}
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**config)).eval()
    theirs.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-2, "num_attention_heads": 6},
        {"hidden_act": "gelu_pytorch_tanh", "qkv_bias": False},
    ],
    ids=["defaults", "quick", "no biases"],
)
def test_a_folder_of_transformers_is_computed_as_its_config_says(tmp_path, options):
    theirs = save_theirs(tmp_path, **options)
    loaded = models.load(tmp_path)
    with torch.no_grad():
        expected = theirs(make_inputs()).logits
    torch.testing.assert_close(compute_logits(loaded.network, make_inputs()), expected, rtol=1e-5, atol=1e-5)
    assert (loaded.names, loaded.res) == (("dog", "cat", "eel"), 32)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"image_size": [16, 32]}, "16x32 pixels; vitrun's are square"),
        ({"image_size": 64}, "image_size=64"),
        ({"patch_size": [8, 4]}, "patches of 8x4"),
        ({"num_channels": 1}, "num_channels=1"),
        ({"num_hidden_layers": 3}, "num_hidden_layers=3"),
        ({"num_attention_heads": 5}, "heads"),
        ({"num_attention_heads": "3"}, "num_attention_heads='3', which must be a whole number"),
        ({"image_size": {"height": 32}}, "image_size=.*, which must be one or two whole numbers"),
        ({"id2label": {"dog": 0}}, "id2label=.*, which must be an object of names by number"),
        ({"qkv_bias": "no"}, "qkv_bias='no', which must be true or false"),
        ({"id2label": {"0": "dog", "2": "eel"}}, "2 classes in id2label"),
        ({"auto_map": {"AutoModel": "their.Code"}}, "auto_map"),
        (
            {"model_type": "deit", "architectures": ["DeiTModel"]},
            "DeiTModel of model_type=deit; .*CLIPModel, CLIPVisionModel, ImageGPT",
        ),
    ],
)
def test_what_vitrun_cannot_follow_in_config_json_is_refused_by_name(tmp_path, changes, reason):
    save_theirs(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=reason) as caught:
        models.load(tmp_path)
    assert caught.value.status == ExitCode.CHECKPOINT and len(str(caught.value)) < 400


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
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3, **ACT}))
    loaded = models.load(tmp_path)
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))
    assert "training images in [-1, 1]" in loaded.report.lines()[4]


def test_another_image_normalization_is_folded_into_the_patch_embedding(tmp_path):
    from safetensors.torch import save_file

    row, network = tiny_vit_row(), build_randomized(tiny_vit_row())
    save_file(export_tensors(hugging_face.map_tensors(row), network.state_dict()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3, **ACT}))
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
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3, **ACT}))
    with pytest.raises(UserError, match="without a head"):
        models.load(tmp_path)
    assert not models.load(tmp_path, classes=7).model.pre_logits


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [123.7, 116.3, 103.5], "image_std": [58.4, 57.1, 57.4]},
        {"image_mean": 0.4, "image_std": 0.3},
    ],
)
def test_pixels_are_rescaled_and_normalized_as_by_the_processor(options):
    from PIL import Image
    from transformers import ViTImageProcessor

    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    processor = ViTImageProcessor(**options)
    values = processor(Image.fromarray(pixels), do_resize=False, return_tensors="np")["pixel_values"][0]
    normalization = config_normalization(options)
    mean, std = np.array(normalization or ([0.5] * 3, [0.5] * 3))[:, :, None, None]
    np.testing.assert_allclose((pixels.transpose(2, 0, 1) / 255 - mean) / std, values, rtol=1e-4, atol=1e-4)
