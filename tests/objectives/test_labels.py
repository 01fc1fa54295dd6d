"""Exact values of the losses of labels, mixup and label smoothing."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from vitrun import data
from vitrun.objectives.labels import LabelObjective, encode_multi_hot, sigmoid_loss
from vitrun.runtime import random


def make_batch(size: int = 6, classes: int = 5) -> data.Batch:
    torch.manual_seed(0)
    return data.Batch(torch.rand(size, 3, 8, 8) * 2 - 1, torch.arange(size) % classes, np.arange(size))


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mixup_loss_equals_the_loss_of_the_mixed_targets(kind, smoothing):
    objective, plain = LabelObjective(kind, smoothing, 0.4, seed=3), make_batch()
    mixed = objective.prepare(plain, 17)
    draw = random.make_generator(3, "mixup", 17).beta(0.4, 0.4)
    share = max(draw, 1 - draw)
    expected = share * plain.images + (1 - share) * torch.roll(plain.images, 1, 0)
    torch.testing.assert_close(mixed.images, expected)
    logits, one_hot = torch.randn(6, 5), functional.one_hot(plain.labels, 5).float()
    targets = (share * one_hot + (1 - share) * one_hot.roll(1, 0)) * (1 - smoothing) + smoothing / 5
    if kind == "softmax":
        by_hand = functional.cross_entropy(logits, targets, reduction="none")
    else:
        by_hand = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    torch.testing.assert_close(objective.loss(logits, mixed.labels, *mixed.targets), by_hand)


def test_a_batch_without_mixup_is_unchanged():
    plain = make_batch()
    assert LabelObjective("softmax").prepare(plain, 3) is plain


def test_mixup_shares_are_at_least_a_half_and_differ_between_steps():
    objective = LabelObjective("softmax", 0.0, 0.2, 0)
    shares = [float(objective.prepare(make_batch(), step).targets[1][0]) for step in range(50)]
    assert min(shares) >= 0.5 and len(set(shares)) > 40


def test_label_smoothing_equals_that_of_torch():
    logits, labels = torch.randn(4, 7), torch.tensor([0, 3, 6, 3])
    ours = LabelObjective("softmax", 0.1).loss(logits, labels).mean()
    torch.testing.assert_close(ours, torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits, labels))


def test_several_labels_become_a_multi_hot_target():
    labels = torch.tensor([[0, 2], [3, -1]])
    assert encode_multi_hot(labels, 4).tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]
    assert torch.equal(encode_multi_hot(torch.tensor([1, 3]), 4), torch.eye(4)[[1, 3]])
    logits = torch.randn(2, 4)
    signs = encode_multi_hot(labels, 4) * 2 - 1
    by_hand = -(signs * logits).sigmoid().log().sum(1).mean()
    assert float(sigmoid_loss(logits, labels).mean()) == pytest.approx(float(by_hand), rel=1e-5)


def test_the_sigmoid_loss_sums_over_classes():
    logits, labels = torch.randn(4, 7), torch.tensor([0, 3, 6, 3])
    targets = torch.eye(7)[labels]
    by_hand = -(targets * logits.sigmoid().log() + (1 - targets) * (1 - logits.sigmoid()).log()).sum(1).mean()
    assert float(sigmoid_loss(logits, labels).mean()) == pytest.approx(float(by_hand), rel=1e-5)


@pytest.mark.parametrize("classes", [10, 1000, 21_843])
def test_the_sigmoid_loss_of_a_fresh_head_is_exact(classes):
    logits, labels = torch.full((2, classes), -10.0), torch.tensor([0, 3])
    losses = sigmoid_loss(logits, labels)
    assert losses.tolist() == pytest.approx([10 + classes * np.log1p(np.exp(-10.0))] * 2, rel=3e-6)
