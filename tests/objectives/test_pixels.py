"""Colours of pixels are predicted as ImageGPT does: which are hidden, what the loss is, and which colours there are."""

from math import log

import numpy as np
import pytest
import torch

from vitrun import models
from vitrun.config import resolve
from vitrun.data import Batch, Split
from vitrun.errors import UserError
from vitrun.objectives import build_objective, palette
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.pixels import add_generative_loss
from vitrun.recipes import tables

IMAGES = ["model=igpt_nano", "res=8", "model.colours=27", "objective.palette=even"]


def make_objective(kind, *overrides):
    """Return an objective and its network."""
    recipe = resolve.resolve_recipe("pretrain", [f"objective={kind}", *IMAGES, *overrides])
    objective = build_objective(recipe)
    split = Split(["a"], np.zeros(1, int), ("a",), pixels=torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    return objective, objective.build_model(recipe.model, split, 8).network


def make_batch(images=4, offset=0):
    """Return a batch of random images."""
    pixels = torch.rand(images, 3, 8, 8) * 2 - 1
    return Batch(pixels, torch.zeros(images, dtype=torch.long), np.arange(images), offset=offset)


def test_an_untrained_network_finds_all_colours_equally_likely():
    objective, network = make_objective("pixels")
    batch = objective.prepare(make_batch(), 0)
    outputs = network(batch.images, *batch.inputs)
    losses = objective.loss(outputs, batch.labels)
    torch.testing.assert_close(losses, torch.full((4,), log(27)))


def test_hidden_pixels_depend_on_step_and_place_alone():
    objective, network = make_objective("pixels_bert", "objective.share=0.15")
    hidden = objective.prepare(make_batch(200), 3).labels
    assert abs(float(hidden.float().mean()) - 0.15) < 0.01 and hidden.any(1).all()
    assert objective.prepare(make_batch(100, offset=100), 3).labels.equal(hidden[100:])
    assert not objective.prepare(make_batch(200), 4).labels.equal(hidden)
    assert not network.row.causal and not hasattr(network, "start")


def test_the_loss_counts_hidden_pixels_only():
    objective, network = make_objective("pixels_bert")
    batch = objective.prepare(make_batch(), 0)
    logits, ids = (tensor.clone() for tensor in network(batch.images, *batch.inputs))
    before = objective.loss((logits, ids), batch.labels)
    logits[~batch.labels] += torch.randn(27)
    torch.testing.assert_close(objective.loss((logits, ids), batch.labels), before)


def test_colours_are_the_means_of_the_training_images_clusters(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    few = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 255]], dtype=torch.uint8)
    pixels = few[torch.randint(0, 4, (20, 8, 8))].permute(0, 3, 1, 2).contiguous()
    split = Split([str(n) for n in range(20)], np.zeros(20, int), ("a",), pixels=pixels)
    view = resolve.resolve_recipe("pretrain", IMAGES[:2]).view
    colours = palette.load_palette(split, view, 8, 6)
    assert {tuple(colour) for colour in colours.tolist()} == {(-1, -1, -1), (1, -1, -1), (-1, 1, -1), (1, 1, 1)}
    noisy = (torch.rand(20, 3, 8, 8) * 255).to(torch.uint8)
    split = Split([f"n{n}" for n in range(20)], np.zeros(20, int), ("a",), pixels=noisy)
    fitted = palette.load_palette(split, view, 8, 16)
    assert len(fitted.unique(dim=0)) == 16 and fitted.abs().max() <= 1
    monkeypatch.setattr(palette, "fit_colours", None)  # they are cached
    assert palette.load_palette(split, view, 8, 16).equal(fitted)


def test_the_joint_loss_adds_the_weighted_loss_of_the_pixels():
    torch.manual_seed(0)
    network = models.build(tables.load_model_rows()["igpt_nano"], 5, 8)
    objective = add_generative_loss(LabelObjective("softmax"), network, 0.5)
    images, labels = torch.rand(3, 3, 8, 8) * 2 - 1, torch.tensor([0, 1, 4])
    losses = objective.loss(network.train()(images), labels)
    torch.testing.assert_close(losses, torch.full((3,), log(5) + 0.5 * log(512)))
    assert network.eval()(images).shape == (3, 5), "in evaluation only the classes are predicted"
    assert network.lm_head.weight.requires_grad


def test_other_networks_have_no_generative_loss():
    network = models.build(tables.load_model_rows()["vit_nano8"], 5, 8)
    with pytest.raises(UserError, match="for an ImageGPT") as error:
        add_generative_loss(LabelObjective("softmax"), network, 1.0)
    assert error.value.option == "generative"
