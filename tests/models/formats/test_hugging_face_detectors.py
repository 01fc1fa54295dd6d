"""Folders of transformers' detectors: believed as they are, or refused by name."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from vitrun import models
from vitrun.errors import UserError
from vitrun.models.export import Description, export_model
from vitrun.recipes import tables
from vitrun.runs import weights_view

SMALL = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    image_size=[16, 24],
    patch_size=8,
    num_detection_tokens=3,
    num_labels=5,
)


@pytest.fixture(scope="module")
def yolos(tmp_path_factory):
    """Return a folder with a random YOLOS of transformers, and the network."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(0)
    config = YolosConfig(
        **SMALL, id2label={n: f"kind {n}" for n in range(5)}, layer_norm_eps=1e-5, hidden_act="gelu_new"
    )
    network = YolosForObjectDetection(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("yolos")
    network.save_pretrained(folder)
    YolosImageProcessor().save_pretrained(folder)
    return folder, network


def normalise(images):
    """Return images in [-1, 1] as ImageNet's mean and deviation normalise them."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((images + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


@torch.no_grad()
def compare(loaded, network, images, padding=None):
    """Assert that a loaded network is that of transformers, in float64 to 1e-5 of logits and boxes."""
    images = images.double()
    found = loaded.network.eval().double()(images, padding)
    mask = {} if padding is None else {"pixel_mask": (~padding).long()}
    expected = network.double()(normalise(images), **mask)
    torch.testing.assert_close(found.logits[:, -1].double(), expected.logits, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(found.boxes[:, -1].double(), expected.pred_boxes, atol=1e-5, rtol=0)


def test_a_folder_of_yolos_is_computed_as_its_config_says(yolos):
    folder, network = yolos
    loaded = models.load(folder)
    compare(loaded, network, torch.rand(2, 3, 24, 32) * 2 - 1)
    assert loaded.names == tuple(f"kind {n}" for n in range(5)) and loaded.classes == 5
    assert loaded.model.grid == (2, 3) and loaded.model.body.epsilon == 1e-5 and loaded.model.body.gelu == "tanh"


@pytest.mark.parametrize("mid", [True, False])
def test_position_tables_of_yolos_are_resampled_as_those_of_transformers(tmp_path, mid):
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(1)
    network = YolosForObjectDetection(YolosConfig(**SMALL, use_mid_position_embeddings=mid)).eval()
    for name, parameter in network.named_parameters():  # tables larger than anything else
        torch.nn.init.normal_(parameter, std=2.0 if "position" in name else 0.2)
    network.save_pretrained(tmp_path)
    YolosImageProcessor().save_pretrained(tmp_path)
    loaded = models.load(tmp_path)
    for height, width in ((16, 24), (24, 16), (8, 8), (40, 16), (32, 64), (20, 31)):
        compare(loaded, network, torch.rand(1, 3, height, width) * 2 - 1)


def test_a_folder_of_detr_is_computed_with_the_resnet_of_timm(tmp_path):
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor

    torch.manual_seed(0)
    layers = dict(encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32)
    heads = dict(encoder_attention_heads=2, decoder_attention_heads=2)
    config = DetrConfig(
        use_timm_backbone=True,
        backbone="resnet18",
        d_model=16,
        num_queries=4,
        num_labels=5,
        dilation=False,
        **layers,
        **heads,
    )
    network = DetrForObjectDetection(config).eval()
    network.save_pretrained(tmp_path)
    DetrImageProcessor().save_pretrained(tmp_path)
    loaded = models.load(tmp_path)
    assert loaded.model.body.name == "resnet18" and loaded.model.decoder == 2
    images, padding = torch.rand(2, 3, 70, 96) * 2 - 1, torch.zeros(2, 70, 96, dtype=torch.bool)
    compare(loaded, network, images)
    padding[0, 40:], padding[1, :, 50:] = True, True  # as rectangles of two shapes are padded to one
    compare(loaded, network, images, padding)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "silu"),
        ("num_detection_tokens", 4),
        ("image_size", [32, 24]),
        ("use_mid_position_embeddings", False),
        ("hidden_size", 32),
        ("quantization_config", {"bits": 4}),
        ("model_type", "detr"),
        ("id2label", {"0": "cat", "2": "dog"}),
    ],
)
def test_a_config_that_says_something_else_than_the_tensors_is_refused_by_name(yolos, tmp_path, key, value):
    config = json.loads((yolos[0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    (tmp_path / "model.safetensors").symlink_to(yolos[0] / "model.safetensors")
    with pytest.raises(UserError, match=key):
        models.load(tmp_path)


def test_a_detector_without_its_config_is_refused(yolos, tmp_path):
    save_file(load_file(yolos[0] / "model.safetensors"), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"config\.json"):
        models.load(tmp_path / "model.safetensors")


@pytest.mark.shared
def test_a_detr_with_a_resnet_of_transformers_is_refused(shared):
    with pytest.raises(UserError, match="backbone"):
        models.load(shared / "golden" / "family" / "detr_hf")


@pytest.mark.parametrize("kind", ["yolos", "detr"])
def test_an_exported_detector_is_that_of_transformers_and_loads_again(tmp_path, kind):
    from transformers import AutoModelForObjectDetection

    torch.manual_seed(0)
    row = tables.load_model_row("yolos_nano" if kind == "yolos" else "detr_r50")
    if kind == "yolos":
        row = replace(row, mid=True, grid=(4, 5))
    else:
        row = replace(row, body=replace(row.body, name="resnet18"), encoder=1, decoder=2, width=16, heads=2, mlp=24)
    network = models.build(row, 3, 64).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    names = ("ape", "bat", "cat")
    export_model(network, 64, "hf", tmp_path / "out", "card", Description(names))
    view = weights_view.read_folder_view(
        {file: weights_view.read_json(tmp_path / "out" / file) for file in weights_view.CONFIG_FILES}, "out", None
    )
    assert view.options["resize"] == "square" and view.source == "preprocessor_config.json of these weights"
    images = torch.rand(1, 3, 64, 96) * 2 - 1
    theirs = AutoModelForObjectDetection.from_pretrained(tmp_path / "out").eval()
    loaded = models.load(tmp_path / "out")
    assert loaded.names == names and loaded.res == 64
    for found in (network(images), loaded.network.eval()(images)):
        with torch.no_grad():
            expected = theirs(images)
        torch.testing.assert_close(found.logits[:, -1], expected.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.boxes[:, -1], expected.pred_boxes, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("row", "changes"), [("yolos_nano", {"head": "gap"}), ("decoder", {})])
def test_a_detector_that_transformers_lacks_is_refused(tmp_path, row, changes):
    model = tables.load_model_row("yolos_nano")
    model = replace(model, body=replace(model.body, **changes), decoder=int(row == "decoder"))
    with pytest.raises(UserError, match="to=onnx"):
        export_model(models.build(model, 3, 16), 16, "hf", tmp_path / "out", "card", Description(("a", "b", "c")))
