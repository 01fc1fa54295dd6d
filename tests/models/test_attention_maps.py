"""Attention of each layer is that which the network uses, in vitrun's networks and in timm's."""

from dataclasses import replace

import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.timm_wrapper import wrap_timm_network
from vitrun.recipes import Timm, tables

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 32, "patch_size": 8}
# Name and options of a network of timm -> tokens that are no patches, patches along a side, tokens that the head reads
TIMM_LAYOUTS = {
    "class token": ("vit_tiny_patch16_224", SMALL, (1, 4, 1)),
    "registers": ("vit_tiny_patch16_224", {**SMALL, "reg_tokens": 3}, (4, 4, 1)),
    "mean": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg"}, (1, 4, 0)),
    "map": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "map", "reg_tokens": 2}, (3, 4, 0)),
    "distilled": ("deit_tiny_distilled_patch16_224", SMALL, (2, 4, 2)),
    "rotary": ("eva02_tiny_patch14_224", SMALL, (1, 4, 0)),
    "relative": ("beit_base_patch16_224", SMALL, (1, 4, 0)),
}


def collect_attention(network, res=32, count=2):
    """Return the layout, the attention of each layer, and that of a MAP head."""
    layout, layers = models.find_layout(network, res), []
    pool = models.visit_attention(network, layout, make_inputs(res, count), lambda _, weights: layers.append(weights))
    return layout, layers, pool


def wrap_small(name, options):
    """Return a network of timm with random weights."""
    torch.manual_seed(0)
    return wrap_timm_network(Timm(kind="timm", name=name, options=options), 5, 32).eval()


def test_the_last_layer_gives_the_input_of_the_head():
    network = models.build(tables.load_model_rows()["vit_nano8"], 1, 32).eval()
    pixels = torch.randn(2, 3, 32, 32)
    tokens = models.hidden_states(network, pixels)
    assert len(tokens) == len(network.blocks) + 1
    torch.testing.assert_close(network.norm(tokens[-1])[:, 0], network.features(pixels))


@pytest.mark.parametrize(
    "options",
    [{}, {"positions": "relative"}, {"positions": "2d", "positions_at": "shared"}, {"norm_pre": True}, {"head": "gap"}],
)
def test_values_weighted_by_the_attention_are_the_output_of_each_layer(options):
    network = build_randomized(tiny_vit_row(**options))
    layout, layers, pool = collect_attention(network)
    prefix = int(options.get("head") != "gap")
    assert (layout.prefix, layout.side, layout.class_tokens, pool) == (prefix, 4, prefix, None)
    states = models.hidden_states(network, make_inputs())
    with torch.no_grad():
        for layer, (block, weights) in enumerate(zip(network.blocks, layers, strict=True)):
            torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 16 + prefix))
            x = network.add_layer_positions(layer, states[layer])
            mixed = weights @ block.attn.split(block.norm1(x))[2]
            x = x + block.attn.proj(mixed.transpose(1, 2).flatten(2))
            torch.testing.assert_close(x + block.mlp(block.norm2(x)), states[layer + 1])


def test_a_map_head_reads_the_tokens_with_attention_of_its_own():
    network = build_randomized(tiny_vit_row(head="map"))
    layout, _, pool = collect_attention(network)
    assert layout.class_tokens == 0 and pool.shape == (2, 3, 16)
    torch.testing.assert_close(pool.sum(-1), torch.ones(2, 3))


@pytest.mark.parametrize("kind", TIMM_LAYOUTS)
def test_attention_of_timm_is_the_same_fused_and_not_and_leaves_the_output_as_it_is(kind):
    name, options, expected = TIMM_LAYOUTS[kind]
    network = wrap_small(name, options)
    with torch.no_grad():
        before = network(make_inputs())
    layout, fused, pool = collect_attention(network)
    assert (layout.prefix, layout.side, layout.class_tokens) == expected and len(fused) == layout.layers == 2
    assert (pool is not None) == (kind == "map")
    for module in network.body.blocks.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    _, unfused, _ = collect_attention(network)
    for one, other in zip(fused, unfused, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one.sum(-1), torch.ones(2, 3, layout.tokens))
    with torch.no_grad():
        torch.testing.assert_close(network(make_inputs()), before)


def test_a_map_head_of_timm_does_not_read_the_tokens_that_it_leaves_out():
    name, options, (prefix, *_) = TIMM_LAYOUTS["map"]
    _, _, pool = collect_attention(wrap_small(name, options))
    assert not pool[..., :prefix].any()
    torch.testing.assert_close(pool.sum(-1), torch.ones(2, 3))


def test_patches_of_a_hybrid_are_places_of_its_feature_map():
    row = replace(MODEL_ROWS["r26_vit_s32"], resnet=(1, 1, 1, 1), depth=1)
    layout, layers, _ = collect_attention(build_randomized(row, res=64), res=64)
    assert (layout.side, layout.prefix) == (2, 1) and layers[0].shape == (2, 6, 5, 5)


def test_networks_without_attention_are_refused_and_others_say_what_is_lacking():
    bit = build_randomized(replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 1, 1, 1)))
    for network in (bit, wrap_small("resnet10t", {})):
        with pytest.raises(UserError, match="has no attention") as caught:
            models.find_layout(network, 32)
        assert caught.value.status == ExitCode.CHECKPOINT
    swin = {"depths": [1, 1], "embed_dim": 24, "num_heads": [1, 2], "window_size": 4, "img_size": 32}
    with pytest.raises(models.NoGlobalAttention, match="within windows"):
        models.find_layout(wrap_small("swin_tiny_patch4_window7_224", swin), 32)
    with pytest.raises(models.NoGlobalAttention, match="do not each attend once"):
        models.find_layout(wrap_small("xcit_nano_12_p16_224", {"depth": 1, "embed_dim": 32, "img_size": 32}), 32)
