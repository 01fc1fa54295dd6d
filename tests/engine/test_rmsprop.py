"""RMSProp equals TensorFlow's, by timm's implementation."""

import pytest
import timm.optim
import torch

from helpers.training import build_small_vit
from vitrun.config import resolve
from vitrun.engine import optim
from vitrun.engine.rmsprop import RmsProp


@pytest.mark.parametrize("momentum, decay", [(0.9, 1e-2), (0.0, 0.0)])
def test_rmsprop_takes_the_steps_of_tensorflow(momentum, decay):
    torch.manual_seed(0)
    ours = [torch.randn(5, 7), torch.randn(3)]
    theirs = [tensor.clone() for tensor in ours]
    groups = [[{"params": [p], "weight_decay": rate} for p, rate in zip(side, (decay, 0.0))] for side in (ours, theirs)]
    own = RmsProp(groups[0], lr=0.1, decay=0.9, momentum=momentum, epsilon=1e-3)
    reference = timm.optim.RMSpropTF(groups[1], lr=0.1, alpha=0.9, momentum=momentum, eps=1e-3)
    for step in range(6):
        for p, q in zip(ours, theirs):
            p.grad = torch.randn_like(p) * 10 ** -(step % 4)
            q.grad = p.grad.clone()
        for optimizer in (own, reference):  # the momentum has the learning rates of past steps
            for group in optimizer.param_groups:
                group["lr"] = 0.1 / (1 + step)
            optimizer.step()
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_rmsprop_decays_kernels_alone_and_its_state_is_counted():
    options = resolve.resolve_recipe("pretrain", ["optim=rmsprop", "optim.weight_decay=0.5"]).optim
    network = build_small_vit()
    optimizer = optim.build_optimizer(options, network)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for name, p in network.named_parameters() if optim.is_kernel(name, p)}
    assert optim.count_moments(options, network) == 2 * 4 * sum(p.numel() for p in network.parameters())
