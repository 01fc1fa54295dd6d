"""Activations that are planned are those that autograd stores."""

from dataclasses import replace

import pytest
import torch

from vitrun import models
from vitrun.config import resolve
from vitrun.engine.activations import count_activations, make_blank_batch
from vitrun.models.attention import fused_attention
from vitrun.models.compiled_windows import load_windows
from vitrun.objectives import build_objective


def count_stored(network, batch, dtype, fused) -> int:
    """Return the bytes that a real forward pass stores, but for the weights."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    stored: dict[int, int] = {}
    alive = []

    def pack(tensor):
        alive.append(tensor)
        if tensor.untyped_storage().data_ptr() not in parameters:
            stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    inputs, _ = batch.micro_batch(slice(0, len(batch.images)), torch.device("cpu"))
    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, fused_attention(network, fused), autocast:
        network(*inputs)
    return sum(stored.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("overrides", [[], ["model.head=map"], ["objective=masked"], ["model=bit_r50x1"]])
def test_what_is_counted_without_memory_is_what_a_forward_pass_stores(dtype, fused, overrides):
    recipe = resolve.resolve_recipe("pretrain", overrides)
    row = recipe.model
    if row.kind == "bit":
        row = replace(row, blocks=(1, 1, 1, 1), width_factor=0.5)
    objective = build_objective(recipe)
    split = type("Split", (), {"classes": tuple("abc")})()
    with torch.device("meta"):
        planned = objective.build_model(row, split, 32).network
    real = objective.build_model(row, split, 32).network.train()
    activations = count_activations(planned, objective, 32, dtype, fused)
    stored = count_stored(real, make_blank_batch(objective, 32, 6), dtype, fused)
    assert activations.weights + activations.count(6, checkpointed=False) == pytest.approx(stored, rel=0.02)
    assert activations.count(6, checkpointed=True) < activations.count(6, checkpointed=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model", ["sasa_nano", "aa_resnet_nano"])
def test_attention_in_resnets_is_counted_as_it_is_computed_and_the_largest_part_is_a_stem_or_a_unit(model, dtype):
    recipe = resolve.resolve_recipe("pretrain", [f"model={model}", "data=shapes"])
    objective = build_objective(recipe)
    with torch.device("meta"):
        planned = models.build(recipe.model, 3, 32)
    real = models.build(recipe.model, 3, 32).train()
    planned = count_activations(planned, objective, 32, dtype, False, compiled=load_windows() is not None)
    stored = count_stored(real, make_blank_batch(objective, 32, 6), dtype, False)
    assert planned.weights + planned.count(6, checkpointed=False) == pytest.approx(stored, rel=0.02)
    assert planned.block == 0 and planned.all / 10 < planned.part < planned.all / 1.5
