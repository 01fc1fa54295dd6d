"""Names beside points, none over another."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

# Places of a label by preference, in points from its point: right, left, above, below, and further away
PLACES = ((6, -3, "left"), (-6, -3, "right"), (0, 6, "center"), (0, -12, "center"), (7, 5, "left"), (-7, 5, "right"),
          (7, -11, "left"), (-7, -11, "right"), (0, 15, "center"), (0, -21, "center"))  # fmt: skip
POINT_SIZE = 11  # pixels that a point covers


def place_labels(axes: Axes, labels: Sequence[tuple[float, float, str]], limit: int) -> None:
    """Write the text of the first ``limit`` (x, y, text) beside its point, where it covers no other.

    A text for which there is no such place is left out. All else has to be drawn, the legend too: this fixes the limits
    of the axes.
    """
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    frame = axes.get_window_extent(renderer)
    spots = axes.transData.transform([(x, y) for x, y, _ in labels])
    half = POINT_SIZE / 2
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in spots]
    for x, y, text in labels[:limit]:
        for right, up, side in PLACES:
            label = axes.annotate(text, (x, y), (right, up), textcoords="offset points", ha=side, fontsize=7.5)
            label.set_in_layout(False)  # the axes stay where they are
            box = label.get_window_extent(renderer).padded(2)
            if frame.contains(*box.min) and frame.contains(*box.max) and not box.count_overlaps(taken):
                taken.append(box)
                break
            label.remove()
