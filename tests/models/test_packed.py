"""Packed weights change the speed of inference in bf16 and nothing else."""

import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, make_inputs
from vitrun.models.packed import has_packing, packed_weights


def test_packed_weights_give_the_same_bits_in_bf16_and_are_gone_afterwards():
    if not has_packing():
        pytest.skip("torch has no packed products for this processor")
    network, inputs = build_randomized(MODEL_ROWS["vit_nano8"]).eval(), make_inputs()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = network.features(inputs)
        with packed_weights(network):
            packed = [layer for layer in network.modules() if "forward" in vars(layer)]
            with packed_weights(network):
                assert torch.equal(network.features(inputs), expected)
    assert packed and not any("forward" in vars(layer) for layer in network.modules())


def test_in_float32_and_with_gradients_a_network_does_not_use_them():
    network, inputs = build_randomized(MODEL_ROWS["vit_nano8"]).eval(), make_inputs()
    with torch.no_grad(), packed_weights(network):
        for parameter in network.head.parameters():
            parameter.zero_()  # those that are packed are not 0
        assert not network(inputs).any()
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
            logits = network(inputs)
        assert not logits.any() and logits.requires_grad
