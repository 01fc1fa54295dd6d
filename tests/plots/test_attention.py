"""Figures of attention show the values of their data."""

import numpy as np
import pytest

from vitrun.plots import attention as plots
from vitrun.plots.mosaic import join_tiles


def read_values(chart, column: int = -1) -> np.ndarray:
    """Return a column of the data of a chart."""
    return np.array([row[column] for row in chart.rows])


def test_the_brightness_of_a_rollout_is_0_to_1_and_highest_where_it_is_largest():
    rollout = np.zeros((4, 4))
    rollout[1, 2] = 0.3
    alpha = plots.rollout_alpha(rollout, 64, 16)
    assert (alpha.min(), alpha.max()) == (0, 1)
    y, x = np.unravel_index(alpha.argmax(), alpha.shape)
    assert abs(y - 24) < 4 and abs(x - 40) < 4  # a quarter of a patch
    assert (plots.rollout_alpha(np.full((4, 4), 1 / 16), 8, 2) == 1).all(), "attention to all alike shows all"


def test_each_figure_has_its_values_with_names_and_places_as_data():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    maps = generator.random((2, 3, 2, 4, 4))
    names, layers = ["folder/one.jpg", "two.jpg"], [1, 2, 12]
    rollout = plots.draw_rollouts(images, maps[:, 0, 0], names)
    np.testing.assert_allclose(read_values(rollout), maps[:, 0, 0].ravel(), atol=1e-6)
    assert rollout.rows[16 + 5][:3] == ("two.jpg", 2, 2)
    by_layer = plots.draw_layers(images, maps[:, :, 0], names, layers)
    assert by_layer.rows[-1][:4] == ("two.jpg", 12, 4, 4) and len(by_layer.rows) == 96
    by_head = plots.draw_heads(maps[1], "two.jpg", layers, 2)
    assert by_head.name == "attention_heads_2" and by_head.rows[-1][:4] == (12, 2, 4, 4)
    distances = plots.draw_distances(maps[0, :, :, 0, 0], 0.5, 7)
    assert distances.rows[3][:2] == (2, 2) and distances.rows[3][2] == pytest.approx(maps[0, 1, 1, 0, 0])
    filters = plots.draw_filters(generator.normal(size=(9, 3, 2, 2)), np.full(9, 0.1))
    assert len(filters.rows) == 36 and len(filters.rows[0]) == len(filters.columns)
    positions = plots.draw_similarity(generator.random((2, 2, 5, 5)), [0, 4])
    assert positions.rows[-1][:4] == (5, 5, 5, 5)


def test_tiles_are_joined_with_transparent_gaps():
    image = join_tiles(np.full((2, 3, 4, 5, 4), 255, np.uint8), 2)
    assert image.shape == (10, 19, 4) and not image[4:6].any() and not image[:, 5:7].any()
    assert (image[6:, 7:12] == 255).all()


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert plots.shorten_name("folder/a.jpg") == "a.jpg"
    assert plots.shorten_name("x/" + "a" * 20 + "b" * 20 + ".jpg") == "aaaaaaa…bbbb.jpg"
