"""Ranks whose gradients are summed while backward runs: the steps of one process, and the same bits every time."""

import numpy as np
import pytest

from helpers.rank_training import fail_in_backward, train_replicas
from helpers.rank_worlds import run_ranks


def test_ranks_that_sum_gradients_in_backward_train_like_one_and_an_interruption_changes_no_bit():
    losses, weights = train_replicas([5])
    (straight, trained), *others = run_ranks(4, train_replicas, [5])
    assert straight == pytest.approx(losses, rel=1e-5)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(trained, weights))
    for loss, same in (*others, *run_ranks(4, train_replicas, [1, 2, 2])):
        assert loss == straight and all(np.array_equal(a, b) for a, b in zip(same, trained))


@pytest.mark.parametrize(
    "mode, reason", [("ddp", "Out of memory on rank 1"), ("fsdp", "rank 1 failed, see the traceback")]
)
def test_a_rank_that_fails_amid_a_sum_ends_and_is_named_by_the_others(mode, reason):
    (first, by), (second, itself) = run_ranks(2, fail_in_backward, mode)
    assert second.startswith(reason) and itself == [1]
    assert first.startswith("rank 1 on ") and "has ended or was killed" in first and by == [0]
