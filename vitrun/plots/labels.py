"""Names beside points, none over another."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from vitrun.plots.style import MUTED

# Places of a label by preference, in points from its point: right, left, above, below, and further away
PLACES = ((6, -3, "left"), (-6, -3, "right"), (0, 6, "center"), (0, -12, "center"), (7, 5, "left"), (-7, 5, "right"),
          (7, -11, "left"), (-7, -11, "right"), (0, 15, "center"), (0, -21, "center"), (14, 14, "left"),
          (-14, 14, "right"), (14, -20, "left"), (-14, -20, "right"))  # fmt: skip
NEAR_PLACES = 8  # a label at one of the others has a line to its point
POINT_SIZE = 11  # pixels that a point covers
SPARE_WIDTH = 0.15  # of a text: a browser's font may be wider than the one that it is measured in


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
        for number, (right, up, side) in enumerate(PLACES):
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
            label = axes.annotate(
                text,
                (x, y),
                (right, up),
                textcoords="offset points",
                ha=side,
                fontsize=7.5,
                arrowprops=line if number >= NEAR_PLACES else None,
            )
            label.set_in_layout(False)  # the axes stay where they are
            box = measure_text(label, side, renderer)
            if frame.contains(*box.min) and frame.contains(*box.max) and not box.count_overlaps(taken):
                taken.append(box)
                break
            label.remove()


def measure_text(label: Annotation, side: str, renderer: RendererBase) -> Bbox:
    """Return the place of a text without its line, with room for a wider font on the side to which it grows."""
    label.update_positions(renderer)
    box = Text.get_window_extent(label, renderer).padded(2)
    spare = SPARE_WIDTH * box.width
    left, right = {"left": (0.0, spare), "right": (spare, 0.0)}.get(side, (spare / 2, spare / 2))
    return Bbox.from_extents(box.x0 - left, box.y0, box.x1 + right, box.y1)
