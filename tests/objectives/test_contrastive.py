"""The temperature and the bias of a CLIP: where they start, that they are clamped, and never decayed."""

from math import log

import numpy as np
import pytest
import torch

from helpers.networks import MODEL_ROWS
from vitrun import models
from vitrun.config import resolve
from vitrun.data import Split
from vitrun.engine import optim
from vitrun.objectives.contrastive import LOSSES, ContrastiveObjective


def build(loss: str) -> models.Clip:
    """Return the untrained CLIP of a loss."""
    objective = ContrastiveObjective(loss, models.build_tokenizer(MODEL_ROWS["clip_nano"].text), 8)
    return objective.build_model(MODEL_ROWS["clip_nano"], Split([], np.empty(0), ()), 32).network


def test_temperature_and_bias_start_as_published():
    softmax, sigmoid = build("softmax"), build("sigmoid")
    assert softmax.logit_scale.item() == pytest.approx(log(1 / 0.07)) and not softmax.row.logit_bias
    assert sigmoid.logit_scale.item() == pytest.approx(log(10)) and sigmoid.logit_bias.item() == -10


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_scale_stays_between_1_and_100_after_every_step(kind):
    network = build("softmax")
    optimizer = optim.build_optimizer(resolve.resolve_recipe("pretrain", [f"optim={kind}"]).optim, network)
    optim.set_lr(optimizer, 10.0)
    for gradient, scale in ((-1.0, 100), (100.0, 1)):
        network.logit_scale.grad = torch.tensor([gradient])
        optimizer.step()
        assert network.logit_parameters()[0].item() == pytest.approx(scale)


@pytest.mark.parametrize("decay", ["kernels", "matrices", "all"])
def test_neither_temperature_nor_bias_is_decayed(decay):
    network, overrides = build("sigmoid"), ["optim.weight_decay=0.2", f"optim.decay={decay}"]
    optimizer = optim.build_optimizer(resolve.resolve_recipe("pretrain", overrides).optim, network)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {decays[id(p)] for name, p in network.named_parameters() if name.startswith("logit_")} == {0}
    tables = (network.text.token_embed.weight, network.text.pos_embed)
    assert [decays[id(table)] for table in tables] == [0.2, 0 if decay == "kernels" else 0.2]


def test_the_sigmoid_loss_is_the_mean_over_images_of_the_sum_over_texts():
    draws = torch.Generator().manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(5, 3, generator=draws), dim=1) for _ in range(2))
    scale, bias = torch.tensor(10.0), torch.tensor(-10.0)
    expected = torch.tensor(
        [
            [-torch.log(torch.sigmoid((1 if i == j else -1) * (scale * images[i] @ texts[j] + bias))) for j in range(5)]
            for i in range(5)
        ]
    ).sum(1)
    torch.testing.assert_close(LOSSES["sigmoid"]((images, texts, scale, bias), torch.arange(5)), expected)
    some = torch.tensor([3, 1])  # of this rank and micro-batch: their texts are sought among all
    torch.testing.assert_close(LOSSES["sigmoid"]((images, texts, scale, bias), some), expected[some])
