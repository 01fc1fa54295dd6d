"""Weight decay and the learning rates of layers follow their formulas."""

import numpy as np
import pytest
import torch

from helpers.training import build_small_vit, make_state, train_steps
from vitrun import data
from vitrun.config import resolve
from vitrun.engine import optim
from vitrun.engine.schedule import Schedule


def test_the_decay_of_big_vision_is_scaled_by_the_schedule_and_shrinks_each_kernel():
    layer, step, steps = torch.nn.Linear(4, 4), 30, 100
    overrides = ["optim.lr=0.01", "optim.weight_decay=0.05", "optim.decay_units=big_vision"]
    recipe = resolve.resolve_recipe("pretrain", overrides).optim
    optimizer = optim.build_optimizer(recipe, layer)
    schedule = Schedule("cosine", recipe.lr, steps, warmup=0)
    before = layer.weight.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.zeros(4, 4), torch.zeros(4)  # so that Adam's own step is none
    optim.set_lr(optimizer, schedule(step))
    optimizer.step()
    share = 0.5 * (1 + np.cos(np.pi * step / steps))
    torch.testing.assert_close(layer.weight.detach(), before * (1 - share * 0.05))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_all_parameters_are_decayed_if_requested(kind):
    layer = torch.nn.Linear(4, 4)
    for decay, names in (("kernels", 1), ("all", 2)):
        recipe = resolve.resolve_recipe(
            "pretrain", [f"optim={kind}", "optim.weight_decay=0.1", f"optim.decay={decay}"]
        ).optim
        first = optim.build_optimizer(recipe, layer).param_groups[0]
        assert (len(first["params"]), first["weight_decay"]) == (names, 0.1)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_rate_of_a_layer_is_that_of_the_next_one_times_the_layer_decay(kind):
    network = build_small_vit()
    optimizer = make_state(network, kind=kind, layer_decay=0.5, weight_decay=0.1).optimizer
    optim.set_lr(optimizer, 0.8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    by_name = {name: rates[id(p)] for name, p in network.named_parameters()}
    assert by_name["pos_embed"] == by_name["patch_embed.proj.bias"] == pytest.approx(0.1)
    assert [by_name[f"blocks.{i}.mlp.fc1.weight"] for i in (0, 1)] == pytest.approx([0.2, 0.4])
    assert by_name["norm.weight"] == by_name["head.weight"] == 0.8
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert all(decays[id(p)] == (0.1 if optim.is_kernel(name, p) else 0) for name, p in network.named_parameters())


@pytest.mark.parametrize("options", [{}, {"positions": "2d"}, {"positions": "relative"}, {"head": "map"}])
def test_biases_norms_tokens_and_positions_are_not_decayed(options):
    network = build_small_vit(**options)
    names = {name for name, p in network.named_parameters() if optim.is_kernel(name, p)}
    assert names and all(name.endswith("weight") and "norm" not in name for name in names)


def test_decoupled_decay_shrinks_the_kernels_by_lr_times_rate():
    network = build_small_vit()
    kernel = network.blocks[0].mlp.fc1.weight
    before, state = kernel.detach().clone(), make_state(network, kind="adamw", weight_decay=0.5)
    blank = data.Batch(torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.long), np.arange(4))
    kernel.requires_grad_(True)
    train_steps(state, [blank], lr=0.01)
    step = (kernel.detach() - before * (1 - 0.01 * 0.5)).abs().max()
    assert step <= 0.01 * 1.01, "Adam's own step is bounded by the learning rate"


@pytest.mark.parametrize("kind, moments", [("sgd", 1), ("adam", 2), ("adamw", 2)])
def test_the_checkpoint_size_counts_the_moments_of_each_weight(kind, moments):
    options = resolve.resolve_recipe("pretrain", [f"optim={kind}"]).optim
    network = build_small_vit()
    assert kind in optim.OPTIMIZERS
    assert optim.count_moments(options, network) == moments * 4 * sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("kind", ["sgd", "adamw", "adafactor"])
def test_the_head_has_its_own_weight_decay(kind):
    network = build_small_vit(head="map")
    optimizer = make_state(network, kind=kind, weight_decay=0.03, head_decay=3).optimizer
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        expected = 3 if name == "head.weight" else 0.03 * optim.is_kernel(name, parameter)
        assert decays[id(parameter)] == pytest.approx(expected), name


@pytest.mark.parametrize("kind", optim.OPTIMIZERS)
@pytest.mark.parametrize("option", ["lr", "weight_decay"])
def test_a_rate_that_no_float32_has_makes_weights_that_are_not_finite_and_is_no_error_of_torch(kind, option):
    layer = torch.nn.Linear(4, 4)
    recipe = resolve.resolve_recipe("pretrain", [f"optim={kind}", f"optim.{option}=1e308"]).optim
    optimizer = optim.build_optimizer(recipe, layer)
    for _ in range(2):  # the first update of AdamW's decay may still be finite
        layer(torch.ones(1, 4)).sum().backward()
        optimizer.step()
    assert not layer.weight.isfinite().all()
