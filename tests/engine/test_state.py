"""The exponential moving average of the weights."""

import torch

from helpers.training import build_small_vit, make_state, random_batch, train_steps
from vitrun.engine.state import use_ema


def test_polyak_averaging_follows_its_formula_and_is_used_for_evaluation():
    state = make_state(build_small_vit())
    state.ema = [p.detach().clone() for p in state.network.parameters()]
    expected = [p.clone() for p in state.ema]
    for number in range(3):
        train_steps(state, [random_batch(8, seed=number)], decay=0.9)
        expected = [0.9 * e + 0.1 * p.detach() for e, p in zip(expected, state.network.parameters())]
    weights = [p.detach().clone() for p in state.network.parameters()]
    with use_ema(state):
        for e, p in zip(expected, state.network.parameters()):
            torch.testing.assert_close(p.detach(), e, atol=1e-7, rtol=1e-5)
    assert all(torch.equal(w, p) for w, p in zip(weights, state.network.parameters()))
