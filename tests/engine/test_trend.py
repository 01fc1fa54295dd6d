"""A sparkline shows a whole run in a few characters, however many steps it has."""

import pytest

from vitrun.engine.trend import BARS, MOST_MEANS, Trend, draw_sparkline


@pytest.mark.parametrize("steps", [2, MOST_MEANS - 1, MOST_MEANS, 1000])
def test_a_trend_of_any_length_fits_and_falls_as_its_values_do(steps):
    trend = Trend(-float(step) for step in range(steps))
    text = str(trend)
    assert 2 <= len(text) < MOST_MEANS and (text[0], text[-1]) == (BARS[-1], BARS[0])
    assert list(text) == sorted(text, reverse=True)
    covered = trend.size * len(trend.means) + len(trend.open)
    assert covered == steps and trend.means[0] == pytest.approx(-(trend.size - 1) / 2)


def test_equal_values_are_a_flat_line_and_fewer_than_two_are_none():
    assert draw_sparkline([2.0, 2.0, 2.0]) == 3 * BARS[0] and draw_sparkline([1.0]) == ""
