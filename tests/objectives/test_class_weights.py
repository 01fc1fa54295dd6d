"""Weights of the classes: balanced ones make every class count as much."""

import numpy as np
import pytest
import torch

from vitrun import data
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.objectives.class_weights import balance_weights, weigh_classes
from vitrun.objectives.labels import LabelObjective

LABELS = np.array([0, 0, 0, 0, 0, 1, 3, 3])


def test_balanced_weights_sum_to_the_number_of_images_and_every_class_has_the_same_sum():
    weights = balance_weights(LABELS, 4)
    assert weights[LABELS].sum() == pytest.approx(len(LABELS)) and weights[2] == 0
    sums = np.bincount(LABELS, weights[LABELS])
    assert sums[[0, 1, 3]] == pytest.approx([8 / 3] * 3)


def test_the_loss_of_an_image_is_multiplied_by_the_weight_of_its_label_mixed_or_not():
    split = data.Split(list("abcdefgh"), LABELS, tuple("wxyz"))
    recipe, lines = resolve.resolve_recipe("finetune", ["init=random:vit_nano8", "class_weights=balanced"]), []
    plain = LabelObjective("softmax", 0.1)
    weighted = weigh_classes(plain, recipe, split, lines.append)
    logits, labels, others = torch.randn(3, 4), torch.tensor([0, 1, 3]), torch.tensor([3, 0, 1])
    weights, share = torch.from_numpy(balance_weights(LABELS, 4)).float(), torch.full((3,), 0.7)
    torch.testing.assert_close(weighted.loss(logits, labels), plain.loss(logits, labels) * weights[labels])
    parts = (0.7 * plain.loss(logits, labels) * weights[labels], 0.3 * plain.loss(logits, others) * weights[others])
    torch.testing.assert_close(weighted.loss(logits, labels, others, share), sum(parts))
    assert lines == ["class weights: 0.533 (w) to 2.67 (x)"]


def test_weights_and_a_balanced_sampler_exclude_each_other():
    with pytest.raises(UserError, match="corrects for the same imbalance as sampler=balanced"):
        resolve.resolve_recipe("pretrain", ["class_weights=balanced", "sampler=balanced"])
    with pytest.raises(UserError, match="is for labels"):
        resolve.resolve_recipe("pretrain", ["objective=masked", "class_weights=balanced"])
