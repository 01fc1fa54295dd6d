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
