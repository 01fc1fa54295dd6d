"""The network that is trained on masked patches."""

import torch

from helpers.masked import build_masked_network
from vitrun.models import MASKED, UNCHANGED


def test_the_input_of_the_network_follows_the_corruption():
    model, image = build_masked_network(), torch.rand(1, 3, 16, 16) * 2 - 1
    patches = model.patch_embed(image)
    corrupted = model.corrupt(patches, torch.tensor([[UNCHANGED, MASKED, 0, 3]]))
    torch.testing.assert_close(corrupted[0, 0], patches[0, 0])
    torch.testing.assert_close(corrupted[0, 1], model.mask_token[0, 0])
    torch.testing.assert_close(corrupted[0, 2], patches[0, 0])
    torch.testing.assert_close(corrupted[0, 3], patches[0, 3])


def test_a_masked_patch_is_predicted_only_from_the_others():
    model, image = build_masked_network(), torch.rand(1, 3, 16, 16) * 2 - 1
    other = image.clone()
    other[:, :, :8, :8] = 0.3
    masked, unchanged = torch.tensor([[MASKED, UNCHANGED, UNCHANGED, UNCHANGED]]), torch.full((1, 4), UNCHANGED)
    torch.testing.assert_close(model(image, masked), model(other, masked))
    assert (model(image, unchanged) - model(other, unchanged)).abs().max() > 1e-3
