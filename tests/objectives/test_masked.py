"""Masked patches: the right targets, the right shares, and the loss of the corrupted patches."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.masked import COLOUR_OBJECTIVE, build_masked_network
from vitrun import data
from vitrun.config import resolve
from vitrun.data.transforms.views import CenterCropView
from vitrun.models import MASKED, UNCHANGED
from vitrun.models.export.hugging_face_folder import write_hugging_face
from vitrun.models.export.view import Description
from vitrun.objectives.masked import MaskedObjective
from vitrun.objectives.patches import patchify
from vitrun.objectives.simmim import SimMimObjective
from vitrun.runtime.device import Machine

SIMMIM = SimMimObjective(share=0.5, patch=8, seed=0)


def make_objective(target: str = "colour") -> MaskedObjective:
    return MaskedObjective(replace(COLOUR_OBJECTIVE, target=target), patch=8, seed=0)


def make_coloured_image(*patches: tuple[int, int, int], side: int = 8) -> torch.Tensor:
    """Return an image [1, 3, 2 * side, 2 * side] in [-1, 1] of four patches, each of one 8-bit colour."""
    colours = torch.tensor(patches, dtype=torch.float32).view(2, 2, 3).permute(2, 0, 1)[None]
    return colours.repeat_interleave(side, 2).repeat_interleave(side, 3) / 127.5 - 1


def test_patches_are_cut_row_by_row():
    image = make_coloured_image((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
    assert patchify(image, 8).mean((3, 4)).tolist() == [[[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]]


def test_colour_classes_are_three_bits_of_red_green_and_blue():
    image = make_coloured_image((0, 0, 0), (255, 255, 255), (255, 31, 64), (32, 128, 223))
    patches = patchify(image, 8)[0]
    expected = [0, 511, 64 * 7 + 8 * 0 + 2, 64 * 1 + 8 * 4 + 6]
    assert make_objective().colour_classes(patches).flatten().tolist() == expected
    assert make_objective("colours").colour_classes(patches).tolist() == [[value] * 16 for value in expected]


def test_targets_have_the_range_of_the_view():
    """A target of a wrong range would train without an error (lucidrains/vit-pytorch, issue 97)."""
    split = data.open_split(resolve.resolve_recipe("pretrain", ["data.test_images=40"]).data, "test")
    (batch,) = data.test_batches(split, CenterCropView(32), 40)
    counts = Counter(make_objective().colour_classes(patchify(batch.images, 8).flatten(0, 1)).flatten().tolist())
    assert len(counts) > 30 and max(counts.values()) < 0.5 * counts.total()


def test_the_four_by_four_colours_of_a_patch_are_read_row_by_row():
    patch = torch.zeros(1, 3, 8, 8)
    patch[0, 0, :2, 2:4] = 1.0  # red in the second spot of the first row
    classes = make_objective("colours").colour_classes(patch)[0].tolist()
    assert classes[1] == 64 * 7 + 8 * 4 + 4 and set(classes[:1] + classes[2:]) == {64 * 4 + 8 * 4 + 4}


def make_blank_images(size: int, res: int = 112) -> data.Batch:
    images = torch.zeros(size, 3, res, res)
    return data.Batch(images, torch.zeros(size, dtype=torch.long), np.arange(size))


def test_half_of_the_patches_are_corrupted_80_10_10_as_masked_replaced_and_unchanged():
    corruption = make_objective().prepare(make_blank_images(200), 3).inputs[0]  # [200, 196]
    assert ((corruption != UNCHANGED).sum(1) == 98).all(), "the same number in every image"
    corrupted = corruption[corruption != UNCHANGED]
    places = torch.arange(196).expand(200, -1)[corruption != UNCHANGED]
    shares = [
        float(part.float().mean())
        for part in (corrupted == MASKED, (corrupted >= 0) & (corrupted != places), corrupted == places)
    ]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    others = corrupted[(corrupted >= 0) & (corrupted != places)]
    assert others.float().mean() == pytest.approx(97.5, abs=5) and others.min() < 5 and others.max() > 190


def test_simmim_masks_all_corrupted_patches():
    corruption = SIMMIM.prepare(make_blank_images(10), 0).inputs[0]
    assert set(corruption.unique().tolist()) == {UNCHANGED, MASKED} and ((corruption == MASKED).sum(1) == 98).all()


def test_a_corruption_depends_on_the_step_in_training_and_on_the_image_in_testing():
    objective = make_objective()
    first, again, other = (objective.prepare(make_blank_images(4), step).inputs[0] for step in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    expected = objective.corrupt(make_blank_images(4), "corrupt the test", 0, np.arange(4)).inputs[0]
    assert torch.equal(
        objective.corrupt(make_blank_images(2), "corrupt the test", 0, np.array([2, 3])).inputs[0], expected[2:]
    )


@pytest.mark.parametrize("target", ["colour", "colours", "pixels", "simmim"])
def test_the_loss_is_the_mean_over_the_corrupted_patches(target):
    objective = SIMMIM if target == "simmim" else make_objective(target)
    batch = objective.prepare(data.Batch(torch.rand(3, 3, 32, 32) * 2 - 1, torch.zeros(3), np.arange(3)), 0)
    outputs = torch.randn(3, 16, 192 if target == "simmim" else objective.output_size)
    losses = objective.loss(outputs, batch.labels, *batch.targets)
    for row in range(3):
        patch_losses = []
        for place in (batch.inputs[0][row] != UNCHANGED).nonzero().flatten().tolist():
            top, left = divmod(place, 4)
            patch = batch.images[row, :, top * 8 : top * 8 + 8, left * 8 : left * 8 + 8]
            output = outputs[row, place]
            if target == "simmim":
                patch_losses.append((output.view(3, 8, 8) - patch).abs().mean())
            elif target == "pixels":
                patch_losses.append((output.view(3, 8, 8) - (patch + 1) / 2).square().mean())
            else:
                classes = objective.colour_classes(patch[None])[0]
                patch_losses.append(torch.nn.functional.cross_entropy(output.view(len(classes), 512), classes))
        assert float(losses[row]) == pytest.approx(float(torch.stack(patch_losses).mean()), rel=1e-5)
    changed = outputs.clone()
    changed[batch.inputs[0] == UNCHANGED] += 5
    torch.testing.assert_close(objective.loss(changed, batch.labels, *batch.targets), losses)


def test_the_simmim_loss_equals_that_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    objective, network = SIMMIM, build_masked_network(192)
    write_hugging_face(tmp_path, network, Description(), 16)
    facts = json.loads((tmp_path / "config.json").read_text()) | {"encoder_stride": 8}
    theirs = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**facts)).eval()
    state = load_file(tmp_path / "model.safetensors") | {"vit.embeddings.mask_token": network.mask_token}
    state |= {"decoder.0.weight": network.decoder.weight[:, :, None, None], "decoder.0.bias": network.decoder.bias}
    prefixed = transformers.ViTForImageClassification.from_pretrained(tmp_path).state_dict()
    theirs.load_state_dict(prefixed | {name: state[name] for name in theirs.state_dict() if name not in prefixed})
    batch = objective.prepare(data.Batch(torch.rand(4, 3, 16, 16) * 2 - 1, torch.zeros(4), np.arange(4)), 0)
    with torch.no_grad():
        ours = objective.loss(network(batch.images, *batch.inputs), batch.labels, *batch.targets).mean()
        expected = theirs(batch.images, bool_masked_pos=batch.inputs[0] != UNCHANGED).loss
    torch.testing.assert_close(ours, expected)


def test_accuracy_counts_correct_colours():
    objective, image = make_objective(), make_coloured_image((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255))
    batch = data.Batch(image, torch.zeros(1), np.arange(1))
    classes = make_objective().colour_classes(patchify(image, 8)[0]).flatten()

    class Knows(torch.nn.Module):
        def forward(self, images, corruption):
            return torch.nn.functional.one_hot(classes, 512)[None].float() * 9

    result = objective.evaluate(Knows(), [batch], Machine("cpu", "fp32"), lambda _: None)
    assert result["colour_accuracy"].mean == 1 and result["masked_loss"].mean < 0.1 and result["test_images"] == 1
