"""Attention maps and the tokens of each layer."""

from dataclasses import replace

import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.errors import UserError
from vitrun.recipes import tables


def test_the_last_layer_gives_the_input_of_the_head():
    network = models.build(tables.load_model_rows()["vit_nano8"], 1, 32).eval()
    pixels = torch.randn(2, 3, 32, 32)
    tokens = models.hidden_states(network, pixels)
    assert len(tokens) == len(network.blocks) + 1
    torch.testing.assert_close(network.norm(tokens[-1])[:, 0], network.features(pixels))


@pytest.mark.parametrize("options", [{}, {"positions": "relative"}, {"positions": "2d", "positions_at": "shared"}])
def test_attention_and_tokens_equal_those_of_the_forward_pass(options):
    network = build_randomized(tiny_vit_row(**options))
    attended, tokens = models.attention_and_tokens(network, make_inputs())
    assert [a.shape for a in attended] == [(2, 3, 17, 17)] * 2 and [t.shape for t in tokens] == [(2, 17, 48)] * 2
    for weights in attended:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 17))
    with torch.no_grad():
        torch.testing.assert_close(network.head(network.norm(tokens[-1][:, 0])), network(make_inputs()))


def test_attention_maps_of_a_network_without_attention_are_refused():
    with pytest.raises(UserError, match="no attention"):
        models.attention_and_tokens(
            build_randomized(replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 1, 1, 1))), make_inputs()
        )
