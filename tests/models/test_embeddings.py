"""Filters and positions are the network's own, for images in [-1, 1]."""

import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.models.timm_wrapper import wrap_timm_network
from vitrun.recipes import Timm

SMALL = {"depth": 1, "embed_dim": 48, "num_heads": 3, "img_size": 32, "patch_size": 8}


def wrap_small(**options):
    """Return a ViT of timm, with the normalisation of ImageNet."""
    network = wrap_timm_network(Timm(kind="timm", name="vit_tiny_patch16_224", options={**SMALL, **options}), 5, 32)
    network.set_normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return network.eval()


def test_filters_give_the_embedding_of_images_in_minus_1_to_1():
    for network, embed in (
        (build_randomized(tiny_vit_row()), lambda network, images: network.patch_embed(images)),
        (wrap_small(), lambda network, images: network.body.patch_embed(images * network.scale)),
    ):
        with torch.no_grad():
            bias = (
                network.patch_embed.proj.bias if hasattr(network, "patch_embed") else network.body.patch_embed.proj.bias
            )
            expected = embed(network, make_inputs()) - bias
        embedding = torch.nn.functional.conv2d(make_inputs(), models.patch_filters(network), stride=8).flatten(2)
        torch.testing.assert_close(embedding.transpose(1, 2), expected)


@pytest.mark.parametrize(
    "options", [{}, {"reg_tokens": 2}, {"no_embed_class": True}, {"class_token": False, "global_pool": "avg"}]
)
def test_positions_of_timm_are_those_of_the_patches(options):
    network = wrap_small(**options)
    table = models.grid_positions(network)
    assert torch.equal(table.flatten(0, 1), network.body.pos_embed[0, -16:].detach())


@pytest.mark.parametrize(
    "options", [{}, {"positions": "sincos2d", "head": "gap"}, {"positions_at": "every"}, {"positions": "2d"}]
)
def test_positions_are_those_of_the_patches_in_the_first_layer(options):
    network = build_randomized(tiny_vit_row(**options))
    assert torch.equal(models.grid_positions(network).flatten(0, 1), network.positions()[0, network.prefix :].detach())


def test_positions_of_an_imagegpt_are_those_of_its_pixels():
    network = build_randomized(MODEL_ROWS["igpt_nano"], res=8)
    assert torch.equal(models.grid_positions(network).flatten(0, 1), network.pos_embed[0].detach())


def test_a_network_without_filters_of_pixels_or_without_positions_says_why():
    hybrid = models.build(tiny_vit_row(stem=32, resnet=(1, 1, 1, 1), patch=1), 1, 32)
    with pytest.raises(models.NoEmbedding, match="feature map of its ResNet"):
        models.patch_filters(hybrid)
    for kind in ("none", "relative"):
        with pytest.raises(models.NoEmbedding, match="positions"):
            models.grid_positions(models.build(tiny_vit_row(positions=kind), 1, 32))
    with pytest.raises(models.NoEmbedding, match="rotary or relative"):
        models.grid_positions(wrap_small(pos_embed="none"))
