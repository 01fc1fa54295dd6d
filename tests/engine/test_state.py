"""The state of training: the exponential moving average of the weights, and checkpoints of another kind."""

import pytest
import torch

from helpers.training import build_small_vit, make_state, random_batch, train_steps
from vitrun.engine import saved_state
from vitrun.engine.state import use_ema
from vitrun.errors import ExitCode, UserError


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


def test_a_checkpoint_of_another_kind_is_refused_with_one_sentence(tmp_path):
    for counters in ("{}", "[1]", '{"step": "x", "micro_batch": 1}', "[" * 100_000, ""):
        (tmp_path / "train_state.json").write_text(counters)
        with pytest.raises(UserError, match="cannot be loaded") as error, pytest.MonkeyPatch.context() as patch:
            patch.setattr(saved_state, "restore_weights", lambda *_: None)
            saved_state.restore_checkpoint(make_state(build_small_vit()), tmp_path)
        assert error.value.status == ExitCode.CHECKPOINT and len(str(error.value)) < 500
