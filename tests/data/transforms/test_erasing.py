"""Random erasing is torchvision's, as a function of seed, epoch and image."""

import numpy as np
import torch
from torchvision.transforms import v2

from vitrun.data.transforms.erasing import AREA, ASPECT, TRIES, RandomErasing, choose_rectangles
from vitrun.runtime import random


def test_the_options_are_the_defaults_of_torchvision():
    theirs = v2.RandomErasing()
    assert (theirs.scale, theirs.ratio, theirs.value) == (AREA, ASPECT, [0.0])


def test_rectangles_are_those_of_torchvision_for_the_same_draws(monkeypatch):
    numbers = random.uniform(0, "test", 0, np.arange(30), 4 * TRIES).reshape(-1, TRIES, 4)
    boxes, fitting = choose_rectangles(numbers, 6, 30)
    for draws, box, any_fits in zip(numbers, boxes, fitting):
        sizes, places = iter(draws[:, :2].ravel()), iter(draws[:, 2:][first_fit(draws)])
        with monkeypatch.context() as patch:
            patch.setattr(
                torch.Tensor,
                "uniform_",
                lambda tensor, low, high, sizes=sizes: tensor.fill_(float(low) + next(sizes) * float(high - low)),
            )
            patch.setattr(
                torch, "randint", lambda low, high, size, places=places: torch.tensor([int(next(places) * high)])
            )
            params = v2.RandomErasing().make_params([torch.zeros(3, 6, 30)])
        assert (params["v"] is not None) == any_fits
        assert not any_fits or [params[key] for key in "ijhw"] == box.tolist()


def first_fit(draws: np.ndarray) -> int:
    """Return the first of the tries [TRIES, 4] whose rectangle fits, or 0."""
    _, fits = choose_rectangles(np.repeat(draws[:, None], TRIES, 1), 6, 30)
    return int(fits.argmax())


def test_an_image_is_erased_with_the_probability_and_alike_every_time():
    images = torch.ones(400, 3, 16, 16)
    RandomErasing(0.25, 3)(images, 1, np.arange(400))
    erased = (images == 0).float().mean((1, 2, 3))
    assert 70 <= (erased > 0).sum() <= 130 and erased.max() < 0.4
    number = int(erased.argmax())
    alone = torch.ones(1, 3, 16, 16)
    RandomErasing(0.25, 3)(alone, 1, np.array([number]))
    assert torch.equal(alone[0], images[number])
