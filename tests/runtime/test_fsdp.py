"""Networks that are divided over ranks: the steps of one process, the same bits every time, and any number of ranks."""

import numpy as np
import pytest

from helpers.rank_training import make_divided, restore, train, train_parts
from helpers.rank_worlds import run_ranks


@pytest.mark.parametrize("kind, ranks, size", [("sgd", 4, 2), ("adafactor", 2, 2)])
def test_ranks_that_have_a_part_each_train_like_one_and_continue_from_their_files(kind, ranks, size, tmp_path):
    losses, parts = train_parts(kind, 1, 0, 3, tmp_path)
    results = run_ranks(ranks, train_parts, kind, size, 2, 1, tmp_path)
    for other, others in results:
        assert other == results[0][0] == pytest.approx(losses, rel=1e-4)
        for part, expected, first in zip(others, parts, results[0][1]):
            assert all(np.array_equal(a, b) for a, b in zip(part, first))
            if kind == "sgd":  # others divide by the size of a gradient, also where that is noise
                assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(part, expected))
    state = make_divided(kind, 1)  # one rank reads what several have saved
    restore(state, tmp_path, 2)
    assert train(state, 1) == pytest.approx(losses[2:], rel=1e-4)
