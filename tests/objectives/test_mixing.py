"""CutMix is torchvision's, and with mixup one of the two is drawn for each step."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from vitrun import data
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.mixing import draw_paste
from vitrun.runtime import random


@pytest.mark.parametrize("step", range(5))
def test_cutmix_gives_the_images_and_targets_of_torchvision_for_the_same_draws(monkeypatch, step):
    images, labels = torch.rand(4, 3, 20, 30), torch.arange(4)
    mixing = draw_paste(20, 30, 1.0, random.make_generator(0, "cutmix", step))
    generator = random.make_generator(0, "cutmix", step)
    theirs = v2.CutMix(num_classes=4)
    drawn = torch.tensor(generator.beta(1.0, 1.0))
    monkeypatch.setattr(theirs, "_dist", type("Dist", (), {"sample": staticmethod(lambda shape: drawn)}))
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor([generator.integers(high)]))
    expected, targets = theirs(images, labels)
    assert torch.equal(mixing(images, images.roll(1, 0)), expected)
    one_hot = torch.eye(4)
    share = mixing.share
    torch.testing.assert_close(share * one_hot + (1 - share) * one_hot.roll(1, 0), targets)


def test_with_mixup_and_cutmix_each_step_has_one_of_them_by_the_switch():
    batch = data.Batch(torch.rand(4, 3, 8, 8), torch.arange(4), np.arange(4))
    for switch, low, high in ((0.0, 0, 0), (0.3, 40, 80), (1.0, 200, 200)):
        objective = LabelObjective("softmax", mixup=0.4, cutmix=1.0, switch_prob=switch)
        assert low <= sum(map(objective.uses_cutmix, range(200))) <= high
    objective = LabelObjective("softmax", mixup=0.4, cutmix=1.0)
    for step in range(6):
        prepared, alone = objective.prepare(batch, step), LabelObjective("softmax", mixup=0.4).prepare(batch, step)
        assert torch.equal(prepared.images, alone.images) != objective.uses_cutmix(step)
        assert torch.equal(prepared.images, objective.prepare(batch, step).images), "a function of the step"
