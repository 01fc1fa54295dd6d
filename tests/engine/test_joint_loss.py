"""A loss of all pairs of a step has the same gradient for any micro-batch and number of ranks."""

import numpy as np
import pytest
import torch

from helpers.contrastive import GOLDEN, Pairs, compute_gradient
from helpers.rank_worlds import run_ranks
from vitrun.engine.loop import dropout_seed
from vitrun.objectives.contrastive import LOSSES

pytestmark = pytest.mark.shared
NAMES = {"softmax": ("clip", "clip_loss_of_each_pair"), "sigmoid": ("siglip", "siglip_loss_of_each_image")}


def assert_golden(loss: str, losses: list[float], total: float, gradients: dict[str, np.ndarray]) -> None:
    """Assert that losses and gradients are those of the reference vectors, to 1e-6."""
    golden, (prefix, each) = np.load(GOLDEN), NAMES[loss]
    assert losses == pytest.approx(golden[each].tolist(), abs=1e-6)
    assert total == pytest.approx(float(golden[f"{prefix}_loss"]), abs=1e-6)
    names = {"images": "image", "texts": "text", "log_scale": "log_scale", "bias": "bias"}
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, golden[f"{prefix}_grad_{names[name]}"], atol=1e-6)


@pytest.mark.parametrize("loss", NAMES)
def test_the_gradient_does_not_depend_on_the_micro_batch(loss):
    for micro in (8, 4, 3, 1):
        total, losses, gradients = compute_gradient(loss, micro)
        assert_golden(loss, losses, total, gradients)


@pytest.mark.parametrize("ranks, micro", [(2, 3), (3, 2)])
def test_the_gradient_does_not_depend_on_the_number_of_ranks(ranks, micro):
    for loss in NAMES if ranks == 2 else ["softmax"]:
        results = run_ranks(ranks, compute_gradient, loss, micro)
        assert_golden(loss, [value for _, losses, _ in results for value in losses], *results[0][::2])


def test_both_passes_draw_the_same_dropout():
    network = Pairs(dropout=0.5)
    torch.manual_seed(dropout_seed(0, 0))
    parts = [network(rows, rows) for rows in (torch.arange(4), torch.arange(4, 8))]
    images, texts = (torch.cat([part[index] for part in parts]) for index in (0, 1))
    LOSSES["softmax"]((images, texts, parts[0][2]), torch.arange(8)).mean().backward()
    _, _, gradients = compute_gradient("softmax", 4, dropout=0.5)
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), atol=1e-12)
