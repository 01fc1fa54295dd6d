"""Pseudo-labels: losses and selection against reference values."""

import numpy as np
import pytest
import torch

from vitrun.data import select_images
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.pseudo import PseudoObjective, soft_loss


@pytest.mark.shared
def test_selection_and_losses_equal_the_reference(shared):
    golden = np.load(shared / "golden/family/noisy_student.npz")
    p = golden["probabilities"]
    rows = select_images(p.argmax(1), p.max(1), 0.3, 9)
    assert np.array_equal(np.stack([p.argmax(1)[rows], rows], 1), golden["chosen"])
    soft = golden["soft_loss"]
    assert np.isclose((golden["labelled_loss_smoothed"].sum() + soft.sum()) / 8, golden["loss_mean_of_all"])
    logits = torch.from_numpy(np.concatenate([golden["labelled_logits"], golden["logits"]]))
    hard = torch.from_numpy(np.concatenate([golden["labels"], golden["hard_labels"]]))
    targets = find_targets(golden)
    for weight, name in ((None, "loss_mean_of_all"), (1.0, "loss_algorithm1"), (3.0, "loss_code")):
        objective = PseudoObjective.build(LabelObjective("softmax", 0.1), True, 3, weight)
        losses = objective.loss(logits, hard, *targets)
        assert float(losses.mean()) == pytest.approx(float(golden[name]), abs=1e-6)


def find_targets(golden):
    """Return classes and shares [8, 4] of two labelled images and six others, from the first probabilities."""
    shares = torch.from_numpy(np.concatenate([np.zeros((2, 4)), golden["probabilities"][:6]]))
    return torch.arange(4).repeat(8, 1), shares


def test_what_is_not_stored_is_spread_over_the_other_classes():
    logits, shares = torch.randn(2, 5), torch.tensor([[0.5, 0.2], [0.9, 0.1]])
    classes = torch.tensor([[1, 3], [0, 4]])
    full = torch.tensor([[0.1, 0.5, 0.1, 0.2, 0.1], [0.9, 0, 0, 0, 0.1]])
    assert torch.allclose(soft_loss(logits, classes, shares), -(full * logits.log_softmax(1)).sum(1))


@pytest.mark.parametrize("soft", [True, False])
def test_weights_of_classes_are_for_labels(soft):
    weights = torch.tensor([1.0, 5.0, 9.0])
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    targets = torch.arange(3).repeat(4, 1), torch.tensor([[0.0] * 3, [0.0] * 3, [0.1, 0.1, 0.8], [0, 1.0, 0]])
    plain = PseudoObjective.build(LabelObjective("softmax"), soft, 1, None).loss(logits, labels, *targets)
    weighted = PseudoObjective.build(LabelObjective("softmax", class_weights=weights), soft, 1, None)
    assert torch.allclose(weighted.loss(logits, labels, *targets), plain * torch.tensor([1.0, 5.0, 1.0, 1.0]))
