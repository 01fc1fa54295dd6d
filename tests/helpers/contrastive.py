"""Pairs of features as the parameters of a network, and the gradient of their contrastive loss."""

import numpy as np
import torch
from torch import nn

from helpers.paths import SHARED
from helpers.training import CPU
from vitrun import data
from vitrun.data.sampler import rank_range
from vitrun.engine.joint_loss import pass_outputs
from vitrun.engine.loop import FitOptions, accumulate_in_memory
from vitrun.engine.state import TrainState
from vitrun.objectives.contrastive import LOSSES
from vitrun.runtime import distributed

GOLDEN = SHARED / "golden/family/contrastive.npz"


class Pairs(nn.Module):
    """Indices [B] of images and of texts -> their features, the scale and the bias, all of which are parameters."""

    def __init__(self, dropout: float = 0.0, sigmoid: bool = False):
        super().__init__()
        golden = np.load(GOLDEN)
        self.images = nn.Parameter(torch.from_numpy(golden["image_features"]))
        self.texts = nn.Parameter(torch.from_numpy(golden["text_features"]))
        self.log_scale = nn.Parameter(torch.tensor(float(golden["log_scale"]), dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(float(golden["bias"]), dtype=torch.float64)) if sigmoid else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, images, texts):
        shared = (self.log_scale.exp(), *([] if self.bias is None else [self.bias]))
        return self.dropout(self.images[images]), self.texts[texts], *shared


def compute_gradient(loss: str, micro: int, dropout: float = 0.0) -> tuple[float, list[float], dict[str, np.ndarray]]:
    """Return the loss of a step, those of this rank's pairs and the gradients, summed over the ranks."""
    network = Pairs(dropout, sigmoid=loss == "sigmoid")
    parameters = list(network.parameters())
    own = torch.arange(*rank_range(8, distributed.rank(), distributed.world_size()))
    batch = data.Batch(own, own, own.numpy(), inputs=(own,), offset=int(own[0]))
    options = FitOptions(LOSSES[loss], 8, lambda _: 0.0, None, None, 0, CPU, lambda _: None, first_pass=pass_outputs)
    state = TrainState(network, torch.optim.SGD(parameters), None, 0, micro)
    computed = accumulate_in_memory(state, parameters, batch, options, [])
    distributed.all_reduce([p.grad for p in parameters])
    losses = torch.cat(computed.image_losses).tolist()
    loss_sum = sum(distributed.all_gather_object(float(computed.loss)))
    return loss_sum, losses, {name: p.grad.numpy() for name, p in network.named_parameters()}
