"""Learning-rate schedules and weight decay follow their formulas."""

import numpy as np
import pytest
import torch

from helpers.training import build_small_vit, make_state, train_steps
from vitrun import data
from vitrun.config import resolve
from vitrun.engine import optim
from vitrun.errors import UserError


def test_a_linear_schedule_warms_up_from_zero_and_ends_at_the_final_rate():
    lr = optim.Schedule("linear", 1e-3, steps=110, warmup=10, end=1e-5)
    assert [lr(0), lr(5), lr(10)] == pytest.approx([0, 5e-4, 1e-3])
    assert lr(60) == pytest.approx((1e-3 + 1e-5) / 2) and lr(110) == pytest.approx(1e-5)


def test_a_staircase_schedule_drops_as_in_bit_hyperrule():
    lr = optim.Schedule("staircase", 0.003, steps=500, warmup=100, drops=(200, 300, 400))
    rates = [lr(step) for step in (0, 50, 100, 200, 201, 300, 301, 400, 401, 499)]
    assert rates == pytest.approx([0, 0.0015, 3e-3, 3e-3, 3e-4, 3e-4, 3e-5, 3e-5, 3e-6, 3e-6])


def test_the_decay_of_big_vision_is_scaled_by_the_schedule_and_shrinks_each_kernel():
    layer, step, steps = torch.nn.Linear(4, 4), 30, 100
    overrides = ["optim.lr=0.01", "optim.weight_decay=0.05", "optim.decay_units=big_vision"]
    recipe = resolve.resolve_recipe("pretrain", overrides).optim
    optimizer = optim.build_optimizer(recipe, layer)
    schedule = optim.Schedule("cosine", recipe.lr, steps, warmup=0)
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


def test_warm_up_rises_from_zero_and_the_decay_ends_at_zero():
    for kind in ("cosine", "linear"):
        lr = optim.Schedule(kind, 0.1, steps=110, warmup=10)
        assert [lr(0), lr(5), lr(10)] == pytest.approx([0, 0.05, 0.1])
        assert lr(60) == pytest.approx(0.05) and 0 < lr(109) < 0.0011 and lr(110) == pytest.approx(0, abs=1e-12)
    assert optim.Schedule("constant", 0.1, 10, 0)(9) == 0.1


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


RSQRT = {  # of big_vision's utils.py: learning rate by step
    0: 0.0, 5000: 4e-4, 9999: 7.9992e-4, 10_000: 8e-4, 20_000: 5.65685425e-4, 500_000: 1.13137085e-4,
    949_999: 8.20783114e-5, 950_000: 8.20782682e-5, 975_000: 4.05095747e-5, 999_999: 1.6000008e-9, 1_000_000: 0.0,
}  # fmt: skip
SCALING = {"steps": 1_000_000, "warmup": 10_000, "timescale": 10_000, "cooldown": 50_000}


def test_rsqrt_with_warm_up_and_cool_down_is_that_of_big_vision():
    schedule = optim.Schedule("rsqrt", 8e-4, **SCALING)
    assert [schedule(step) for step in RSQRT] == pytest.approx(list(RSQRT.values()), rel=1e-8)
    constant = optim.Schedule("constant", 0.1, steps=100, warmup=0, cooldown=20)
    assert [constant(step) for step in (0, 80, 90, 99)] == pytest.approx([0.1, 0.1, 0.05, 0.005])


@pytest.mark.shared
def test_rsqrt_equals_the_reference_at_every_step(shared):
    golden = np.load(shared / "golden" / "family" / "rsqrt.npz")
    keys = {"steps": "total", "warmup": "warmup", "timescale": "timescale", "cooldown": "cooldown"}
    schedule = optim.Schedule("rsqrt", float(golden["lr"]), **{key: int(golden[name]) for key, name in keys.items()})
    rates = [schedule(int(step)) for step in golden["steps"]]
    np.testing.assert_allclose(rates, golden["rates"], rtol=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "adafactor"])
def test_the_head_has_its_own_weight_decay(kind):
    network = build_small_vit(head="map")
    optimizer = make_state(network, kind=kind, weight_decay=0.03, head_decay=3).optimizer
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        expected = 3 if name == "head.weight" else 0.03 * optim.is_kernel(name, parameter)
        assert decays[id(parameter)] == pytest.approx(expected), name


@pytest.mark.parametrize(
    "options, option",
    [
        (["schedule=cosine", "cooldown=5"], "cooldown"),
        (["schedule=rsqrt", "steps=100", "warmup=50", "cooldown=51"], "cooldown"),
        (["schedule=rsqrt", "schedule_end=1e-5"], "schedule"),
    ],
)
def test_a_cool_down_without_a_place_in_the_schedule_is_refused(options, option):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("pretrain", options)
    assert error.value.option == option
