"""On a GPU convolutions compute with the channels of a pixel side by side; tried with tensors without numbers."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vitrun import models
from vitrun.recipes import tables


@pytest.mark.parametrize("name, device", [("resnet26", "cuda"), ("clip_r50", "cuda"), ("resnet26", "cpu")])
def test_every_convolution_and_batch_norm_has_channels_last_on_a_gpu_and_none_on_a_cpu(name, device):
    with torch.device("meta"):
        network = models.build(tables.load_model_row(name), 10, 64)
    layouts = []

    def record(module, inputs, output):
        layouts.append(output.is_contiguous(memory_format=torch.channels_last))

    with FakeTensorMode(allow_non_fake_inputs=True):
        network = getattr(network, "image", network).to_empty(device=device).train()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d):
                module.register_forward_hook(record)
        network.pooled(torch.empty(2, 3, 64, 64, device=device))
    assert len(layouts) > 50 and set(layouts) == {device == "cuda"}
