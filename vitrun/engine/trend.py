"""Trend of a loss over a run, as a sparkline."""

from collections.abc import Iterable, Sequence

BARS = "▁▂▃▄▅▆▇█"
MOST_MEANS = 16  # of a trend: with more, neighbours are averaged


class Trend:
    """Means of a value over equal stretches of a run, of which there are at most ``MOST_MEANS``."""

    def __init__(self, values: Iterable[float] = ()):
        self.means: list[float] = []
        self.size = 1  # values of a mean
        self.open: list[float] = []  # values of the stretch that is not complete
        for value in values:
            self.add(value)

    def add(self, value: float) -> None:
        """Add the next value."""
        self.open.append(value)
        if len(self.open) == self.size:
            self.means.append(sum(self.open) / self.size)
            self.open = []
        if len(self.means) == MOST_MEANS:
            self.means = [(one + two) / 2 for one, two in zip(self.means[::2], self.means[1::2])]
            self.size *= 2

    def __str__(self) -> str:
        return draw_sparkline(self.means)


def draw_sparkline(values: Sequence[float]) -> str:
    """Return a bar for each value, from the lowest for the smallest to the highest; empty for fewer than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * steps)] for value in values)
