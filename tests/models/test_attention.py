"""Fused attention."""

import torch

from helpers.networks import build_randomized, make_inputs, tiny_vit_row
from vitrun.models import attention


def test_fused_and_plain_attention_agree(monkeypatch):
    network = build_randomized(tiny_vit_row())
    with torch.no_grad():
        fused = network(make_inputs())
        monkeypatch.setattr(attention, "fused_is_faster", lambda q: False)
        torch.testing.assert_close(network(make_inputs()), fused)


def test_in_bf16_the_last_layer_computes_the_class_token_alone_with_the_same_features():
    network, seen = build_randomized(tiny_vit_row()), []
    network.blocks[-1].register_forward_hook(lambda block, inputs, output: seen.append(output))
    with torch.inference_mode():
        exact = network.features(make_inputs())
        with torch.autocast("cpu", torch.bfloat16):
            features = network.features(make_inputs())
    assert [output.shape[1] for output in seen] == [17, 1]
    torch.testing.assert_close(features, exact, rtol=0.05, atol=0.05)
