"""Fused attention."""

import torch

from helpers.networks import built, images, tiny
from vitrun.models import attention


def test_fused_and_plain_attention_agree(monkeypatch):
    network = built(tiny())
    with torch.no_grad():
        fused = network(images())
        monkeypatch.setattr(attention, "fused_is_faster", lambda q: False)
        torch.testing.assert_close(network(images()), fused)
