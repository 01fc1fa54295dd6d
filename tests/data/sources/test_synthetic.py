"""Synthetic images are the same every time."""

import pytest
import torch

from vitrun import data


@pytest.mark.parametrize("target", ["shape", "colour", "count", "position", "orientation"])
def test_shapes_are_deterministic_and_have_every_label(target):
    from vitrun.config import resolve

    recipe = resolve.resolve_recipe(
        "pretrain", [f"data.target={target}", "data.train_images=1500", "data.size=24"]
    ).data
    first, second = data.open_split(recipe, "train"), data.open_split(recipe, "train")
    assert torch.equal(first.pixels, second.pixels) and first.pixels.shape == (1500, 3, 24, 24)
    assert set(first.labels) == set(range(len(first.classes)))
    assert not set(first.keys) & set(data.open_split(recipe, "test").keys)
