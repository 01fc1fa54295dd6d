"""Activation checkpointing stores less and computes the same gradients to the bit."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from helpers.training import build_small_vit, random_batch
from vitrun import models
from vitrun.errors import UserError
from vitrun.recipes import BiT, Timm, tables


def build(kind: str, **changes) -> torch.nn.Module:
    """Return a small network with random numbers in its layers, the same each time."""
    if kind == "vit":
        return build_small_vit(dropout=0.1, stochastic_depth=0.5, **changes)
    torch.manual_seed(0)
    if kind == "bit":
        row = BiT(kind="bit", name="bit", blocks=(1, 1, 1, 1), width_factor=0.5, border="zero")
    elif kind == "timm":
        options = {"embed_dim": 32, "depth": 2, "num_heads": 2, "drop_path_rate": 0.5, "patch_size": 16}
        row = Timm(kind="timm", name="vit_tiny_patch16_224", options=options)
    else:
        row = tables.load_model_row(kind)
    return models.build(row, 10, 32)


def compute_gradients(network: torch.nn.Module, dtype=torch.float32) -> tuple[list[torch.Tensor], int]:
    """Return the gradient of each parameter, and the bytes that the forward pass stored."""
    stored: dict[int, int] = {}

    def pack(tensor):
        stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network.train()
    torch.nn.init.normal_(network.head.weight)  # whose zeros would leave no gradient
    torch.manual_seed(7)
    with saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = torch.nn.functional.cross_entropy(network(random_batch(4).images), random_batch(4).labels)
    return list(torch.autograd.grad(loss, list(network.parameters()))), sum(stored.values())


@pytest.mark.parametrize("kind", ["vit", "bit", "timm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_equal_to_the_bit_with_dropout_and_stochastic_depth(kind, dtype):
    plain, stored = compute_gradients(build(kind), dtype)
    network = build(kind)
    models.checkpoint_blocks(network)
    again, less = compute_gradients(network, dtype)
    assert len(plain) == len(again) and all(map(torch.equal, plain, again))
    assert less < stored and any(gradient.abs().sum() > 0 for gradient in plain)


def test_evaluation_is_not_checkpointed():
    network = build("vit").eval()
    logits = network(random_batch(2).images)
    models.checkpoint_blocks(network)
    assert torch.equal(network(random_batch(2).images), logits)


def test_a_network_with_batch_norm_is_refused():
    network = models.build(Timm(kind="timm", name="resnet10t"), 10, 32)
    with pytest.raises(UserError, match="batch norm of resnet10t") as error:
        models.checkpoint_blocks(network)
    assert error.value.option == "checkpointing"
