"""The layers of a network are those of BEiT and MAE, and in networks of timm timm's own."""

import pytest
import timm
from timm.optim._param_groups import param_groups_layer_decay

from helpers.networks import MODEL_ROWS, tiny_vit_row
from vitrun import models
from vitrun.errors import UserError
from vitrun.models.layers import number_layers
from vitrun.recipes import Timm


def build_timm(name: str):
    """Build an untrained network of timm for images of 64 pixels."""
    return models.build(Timm(kind="timm", name=name), 5, 64)


@pytest.mark.parametrize("options", [{}, {"positions": "2d"}, {"head": "map"}, {"norm_pre": True}])
def test_a_vit_has_a_layer_for_the_embedding_one_for_each_block_and_one_for_the_head(options):
    layers = number_layers(models.build(tiny_vit_row(depth=3, **options), 5, 32))
    assert {layer for name, layer in layers.items() if name.startswith(("patch_embed", "cls", "pos", "norm_pre"))} == {
        0
    }
    assert all(layer == int(name.split(".")[1]) + 1 for name, layer in layers.items() if name.startswith("blocks."))
    assert {layer for name, layer in layers.items() if name.startswith(("norm.", "attn_pool", "head."))} == {4}


def test_the_layers_of_bit_are_its_units():
    row = MODEL_ROWS["bit_r50x1"]
    layers = number_layers(models.build(row, 5, 32))
    assert layers["stem.conv.weight"] == 0 and layers["stages.1.blocks.0.conv1.weight"] == row.blocks[0] + 1
    assert layers["norm.weight"] == layers["head.bias"] == sum(row.blocks) + 1 == max(layers.values())


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "swin_tiny_patch4_window7_224"])
def test_the_layers_of_a_network_of_timm_give_the_rates_that_timm_gives(name):
    size = {"img_size": 64} if "swin" in name else {}
    theirs = timm.create_model(name, num_classes=5, **size)
    scales = {id(p): group["lr_scale"] for group in param_groups_layer_decay(theirs) for p in group["params"]}
    expected = {parameter: scales[id(tensor)] for parameter, tensor in theirs.named_parameters()}
    network = build_timm(name)
    layers = number_layers(network)
    assert set(layers) == {parameter for parameter, _ in network.named_parameters()}
    for parameter, layer in layers.items():
        same = parameter.removeprefix("body.") if parameter.startswith("body.") else theirs.default_cfg["classifier"]
        same = same if same in expected else f"{same}.weight"
        assert expected[same] == pytest.approx(0.75 ** (max(layers.values()) - layer)), parameter


def test_a_network_without_layers_is_refused_by_its_name():
    network = build_timm("test_vit")
    network.body.group_matcher = None
    with pytest.raises(UserError, match="test_vit has no layers"):
        number_layers(network)
