"""Adafactor is that of big_vision, and its state is half as large as the weights."""

import numpy as np
import pytest
import torch

from helpers.training import build_small_vit, make_state, random_batch, train_steps
from vitrun.config import resolve
from vitrun.engine import adafactor, optim
from vitrun.engine.adafactor import Adafactor
from vitrun.engine.state import count_bytes

# After four steps of optax 0.2.8, chained as big_vision's scale_by_adafactor: of a kernel [33, 40], which is factored,
# every 131st weight, and a bias [5]. Weights and gradients are those of ``wave``.
KERNEL = [
    1.0004498958587646, -0.2532981038093567, -0.6107961535453796, 0.888922929763794, 0.31817305088043213,
    -1.3400110006332397, -0.13047242164611816, 1.3112189769744873, -0.18417103588581085, -0.887036144733429,
    0.7382808327674866,
]  # fmt: skip
BIAS = [0.5432007908821106, 0.3010963499546051, -0.13843977451324463, -0.2688469886779785, -0.9786812663078308]
TOLERANCE = 4e-7  # of the reference vectors: the order of float32 sums


def wave(shape: tuple[int, ...], phase: float) -> torch.Tensor:
    """Return numbers of different sizes and signs."""
    index = np.arange(int(np.prod(shape)))
    return torch.from_numpy((np.cos(index * 0.37 + phase) * (1 + 0.5 * np.sin(index * 1.7))).astype(np.float32)).view(
        shape
    )


def descend(weights: list[torch.nn.Parameter], gradients: list[list[torch.Tensor]], lr: float) -> Adafactor:
    """Take a step for each list of gradients."""
    optimizer = Adafactor(weights, lr, momentum=0.9, max_decay=0.999)
    for step in gradients:
        for weight, gradient in zip(weights, step):
            weight.grad = gradient
        optimizer.step()
    return optimizer


def test_four_steps_equal_those_of_optax():
    weights = [torch.nn.Parameter(wave((33, 40), 0.0)), torch.nn.Parameter(wave((5,), 1.0))]
    descend(weights, [[wave((33, 40), 10.0 + step), wave((5,), 20.0 + step)] for step in range(4)], lr=0.01)
    np.testing.assert_allclose(weights[0].detach().flatten()[::131], KERNEL, atol=TOLERANCE)
    np.testing.assert_allclose(weights[1].detach(), BIAS, atol=TOLERANCE)


@pytest.mark.shared
@pytest.mark.parametrize("layout", ["published", "torch"])
def test_each_kind_of_weight_equals_the_reference_in_both_layouts(shared, layout):
    golden = np.load(shared / "golden" / "family" / "adafactor.npz")
    names = ("kernel", "conv", "small", "bias")

    def arrange(array: np.ndarray) -> torch.Tensor:
        axes = {2: (1, 0), 4: (3, 2, 0, 1)}.get(array.ndim) if layout == "torch" else None
        return torch.from_numpy(np.ascontiguousarray(array.transpose(axes) if axes else array))

    weights = [torch.nn.Parameter(arrange(golden[f"start_{name}"])) for name in names]
    for step in range(4):  # the state goes on from one to the next
        gradients = [[arrange(golden[f"grad{past}_{name}"]) for name in names] for past in range(step + 1)]
        weights = [torch.nn.Parameter(arrange(golden[f"start_{name}"])) for name in names]
        descend(weights, gradients, float(golden["lr"]))
        for name, weight in zip(names, weights):
            np.testing.assert_allclose(weight.detach(), arrange(golden[f"after{step}_{name}"]), atol=TOLERANCE)


def test_each_head_of_attention_has_mean_squares_of_its_own():
    network = build_small_vit(head="map", width=128, heads=4, mlp=128)
    shapes = adafactor.find_head_shapes(network)
    assert shapes["blocks.0.attn.qkv.weight"] == (3, 4, 32, 128) and shapes["attn_pool.kv.weight"] == (2, 4, 32, 128)
    weight, gradient = torch.nn.Parameter(torch.zeros(384, 128)), wave((384, 128), 3.0)
    optimizer = Adafactor([{"params": [weight], "shapes": [(3, 4, 32, 128)]}], 1.0, momentum=0.0, max_decay=0.9)
    weight.grad = gradient
    optimizer.step()
    whole = weight.detach().view(3, 4, 32, 128)
    for part, head in ((0, 1), (2, 3)):
        one = torch.nn.Parameter(torch.zeros(32, 128))
        one.grad = gradient.view(3, 4, 32, 128)[part, head].clone()
        Adafactor([one], 1.0, momentum=0.0, max_decay=0.9).step()
        torch.testing.assert_close(whole[part, head], one.detach())


def test_the_state_is_about_half_of_the_weights_and_is_loaded_as_it_was_saved():
    network = build_small_vit(width=256, mlp=1024)
    state = make_state(network, kind="adafactor")
    options = resolve.resolve_recipe("pretrain", ["optim=adafactor"]).optim
    train_steps(state, [random_batch(4)])
    saved = state.optimizer.state_dict()
    tensors = [value for entry in saved["state"].values() for key, value in entry.items() if key != "step"]
    assert count_bytes(tensors) == optim.count_moments(options, network)
    assert 0.5 < count_bytes(tensors) / count_bytes(network.parameters()) < 0.6
    other = make_state(network, kind="adafactor").optimizer
    other.load_state_dict(saved)
    for entry, loaded in zip(saved["state"].values(), other.state_dict()["state"].values()):
        assert entry["momentum"].dtype == loaded["momentum"].dtype == torch.bfloat16
        assert all(torch.equal(entry[key], loaded[key]) for key in entry)
