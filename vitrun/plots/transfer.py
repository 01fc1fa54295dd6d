"""Figures of transfer: accuracy against shots, and by VTAB's tasks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from vitrun.plots.chart import Chart
from vitrun.plots.lines import list_rows, name_columns, plot_curves, shorten
from vitrun.plots.points import Curve, Point, Scores
from vitrun.plots.style import (
    MARKERS,
    MUTED,
    WIDTH,
    add_legend,
    create_axes,
    series_style,
    styled,
    use_log_scale,
)

VTAB = "VTAB "  # the beginning of names of tasks and groups in tables


@styled()
def draw_few_shot(curves: Sequence[Curve]) -> Chart:
    """Return accuracy in percent against images a class, with 95 % confidence intervals over draws."""
    figure, axes = create_axes("shots (images a class)", "accuracy (%)")
    plot_curves(axes, curves)
    use_log_scale(axes, "x", sorted({x for curve in curves for x in curve.x}))
    add_legend(figure, axes)
    has_intervals = any(curve.ci95 is not None for curve in curves)
    note = "Bands are 95 % confidence intervals of the mean over draws." if has_intervals else ""
    columns = name_columns("run", "shots", "accuracy (%)")
    return Chart("few_shot", "Few-shot accuracy", figure, columns, list_rows(curves), note)


@styled()
def draw_vtab(models: Sequence[Scores], groups: Mapping[str, Sequence[str]]) -> Chart:
    """Return accuracies in percent on VTAB's tasks by group, and the mean of each group that a model has whole.

    Of more models than there are markers, published ones and the best by their mean are named.
    """
    lines = [(group, task) for group, tasks in groups.items() for task in (*tasks, f"mean of {len(tasks)}")]
    spaced = {line: place + [*groups].index(line[0]) for place, line in enumerate(lines)}  # a free line between groups
    figure, axes = create_axes("accuracy (%)", "", (WIDTH, 0.8 + 0.21 * (len(lines) + len(groups))))
    named = sorted(models, key=lambda model: (not model.source, -np.mean([*model.values.values(), 0])))[: len(MARKERS)]
    rows = [(*line, model, value) for model in models for line, value in score_lines(model, groups).items()]
    others = [model for model in models if not any(model is one for one in named)]
    if others:
        plot_ranges(axes, [score_lines(model, groups) for model in others], spaced)
    for index, model in enumerate(named):
        scores = score_lines(model, groups)
        style = series_style(index) | {"linestyle": "", "markersize": 6}
        if model.source:
            style["markerfacecolor"] = "none"
        axes.plot([*scores.values()], [spaced[line] for line in scores], label=shorten(model.label), **style)
    texts = [
        f"{group.removeprefix(VTAB)}: {task}" if is_mean(task) else task.removeprefix(VTAB) for group, task in lines
    ]
    axes.set_yticks([*spaced.values()], texts)
    for tick, (_, task) in zip(axes.get_yticklabels(), lines):
        tick.set_fontweight("bold" if is_mean(task) else "normal")
    axes.set_ylim(max(spaced.values()) + 0.7, -0.7)
    add_legend(figure, axes)
    columns = ("group", "task", "model", "accuracy (%)", "source")
    cells = tuple((group, task, model.label, value, model.source) for group, task, model, value in rows)
    return Chart("vtab", "VTAB-1k by group", figure, columns, cells, cite(models))


def plot_ranges(
    axes: Axes, models: Sequence[Mapping[tuple[str, str], float]], spaced: Mapping[tuple[str, str], int]
) -> None:
    """Plot on each line from where to where the scores of models reach, and their middle half."""
    label: str | None = f"range and middle half of {len(models)} others"
    for line, place in spaced.items():
        values = [scores[line] for scores in models if line in scores]
        if values:
            low, left, right, high = np.quantile(values, (0, 0.25, 0.75, 1))
            axes.plot([low, high], [place, place], color=MUTED, linewidth=1, zorder=1)
            axes.plot([left, right], [place, place], color=MUTED, linewidth=6, alpha=0.6, zorder=1, label=label)
            label = None


def score_lines(model: Scores, groups: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], float]:
    """Return the accuracy of a model by (group, task), and the mean of each group of which it has all tasks."""
    scores: dict[tuple[str, str], float] = {}
    for group, tasks in groups.items():
        scores |= {(group, task): model.values[task] for task in tasks if task in model.values}
        if all(task in model.values for task in tasks):
            scores[group, f"mean of {len(tasks)}"] = float(np.mean([model.values[task] for task in tasks]))
    return scores


def is_mean(task: str) -> bool:
    """Return whether a line is the mean of a group."""
    return task.startswith("mean of ")


def cite(items: Sequence[Curve | Point | Scores]) -> str:
    """Return a sentence with the sources of published numbers among the items; empty if there are none."""
    sources = [*dict.fromkeys(item.source for item in items if item.source)]
    return f"Hollow markers are published numbers: {'; '.join(sources)}." if sources else ""
