"""Sections of a report with curves over steps, over shots and over learning rates."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from vitrun.commands.comparison_tables import format_metric
from vitrun.commands.report.gather import Material, ReportedRun
from vitrun.commands.report.labels import describe_label, label_row, label_runs
from vitrun.commands.report.runs_section import is_number
from vitrun.plots.chart import Chart
from vitrun.plots.page import Block, Note, Section, chart_figure
from vitrun.plots.points import Curve
from vitrun.plots.training import draw_accuracy, draw_evaluation_loss, draw_learning_rate, draw_loss, draw_lr_grid
from vitrun.plots.transfer import draw_few_shot
from vitrun.runs import history
from vitrun.runs.comparison_rows import Row
from vitrun.runs.metrics import from_plain

MAX_CHARTS = 8  # of one section
MAX_CURVES = 40  # of one chart: of more the ten that end best and, evenly over their ranks, others
MAX_BEST = 10
MAX_VALUES = 4000  # points of one chart: of many curves each has fewer
MIN_RATES = 2  # learning rates of one setting, to be shown against each other


def name_chart(chart: Chart, number: int, title: str, note: str = "") -> Chart:
    """Return a chart with a name of its own on the page."""
    notes = " ".join(filter(None, (chart.note, note)))
    return replace(chart, name=f"{chart.name}_{number}", title=title, note=notes)


def list_training(material: Material) -> Section:
    """Return the section with loss, learning rate and measured accuracy by step, for each command and data set."""
    section = Section("Training curves")
    panels: dict[tuple[str, str], list[ReportedRun]] = {}
    for run in material.runs:
        if material.histories[run.name].training:
            panels.setdefault((run.command, str(run.facts["data"])), []).append(run)
    chosen = sorted(panels.items(), key=lambda item: -len(item[1]))[:MAX_CHARTS]
    for number, ((command, data), runs) in enumerate(chosen, 1):
        section.add(*draw_panel(material, number, f"{command}, {data}", runs))
    if len(panels) > len(chosen):
        section.add(Note(f"Charts of the {len(chosen)} commands and data sets with most runs, of {len(panels)}."))
    return section


def draw_panel(material: Material, number: int, title: str, runs: Sequence[ReportedRun]) -> Iterator[Block]:
    """Yield the charts of runs of one command on one data set."""
    labels = label_runs(material, runs)
    histories = {run.name: material.histories[run.name] for run in runs}
    losses, note = choose_curves(
        [make_curve(labels[name], h.training["loss"]) for name, h in histories.items() if "loss" in h.training],
        highest=False,
    )
    yield chart_figure(name_chart(draw_loss(losses), number, f"Training loss: {title}", note))
    yield from draw_measured(number, title, histories, labels)
    rates = {tuple(h.training.get("lr", ())): name for name, h in histories.items()}
    schedules, note = choose_curves([make_curve(labels[name], points) for points, name in rates.items() if points])
    if schedules:
        chart = draw_learning_rate(schedules)
        equal = "Equal schedules are drawn once." if len(rates) < len(runs) else ""
        yield chart_figure(name_chart(chart, number, f"Learning rate: {title}", " ".join(filter(None, (equal, note)))))


def draw_measured(
    number: int, title: str, histories: Mapping[str, history.History], labels: Mapping[str, str]
) -> Iterator[Block]:
    """Yield the charts of what was measured during training: losses of evaluations, and accuracies."""
    names = list(dict.fromkeys(name for h in histories.values() for name in h.measured))
    losses = [name for name in names if re.fullmatch(r"eval_.*loss", name)]
    accuracies = [name for name in names if is_accuracy(name) and not re.fullmatch(r"eval_.*(5|10)", name)]

    def make_curves(some: Sequence[str], scale: float) -> list[Curve]:
        return [
            make_curve(
                f"{labels[run]}, {name_measure(name)}" if len(some) > 1 else labels[run], h.measured[name], scale
            )
            for name in some
            for run, h in histories.items()
            if name in h.measured
        ]

    if losses:
        chosen, note = choose_curves(make_curves(losses, 1), highest=False)
        yield chart_figure(name_chart(draw_evaluation_loss(chosen), number, f"Loss of evaluations: {title}", note))
    if accuracies:
        chosen, note = choose_curves(make_curves(accuracies, 100))
        what = name_measure(accuracies[0]) if len(accuracies) == 1 else "accuracy"
        yield chart_figure(name_chart(draw_accuracy(chosen), number, f"During training: {what}, {title}", note))
    if precisions := [name for name in ("eval_AP", "eval_AP50") if name in names]:
        chosen, note = choose_curves(make_curves(precisions, 100))
        chart = draw_accuracy(chosen, "average precision")
        yield chart_figure(name_chart(chart, number, f"During training: average precision, {title}", note))


def make_curve(label: str, points: Sequence[tuple[float, float]], scale: float = 1) -> Curve:
    """Return points as a curve."""
    return Curve(label, [x for x, _ in points], [scale * y for _, y in points])


def is_accuracy(name: str) -> bool:
    """Return whether a value that was measured during training is an accuracy."""
    return bool(re.fullmatch(r"fewshot_.*_\d+|(.*_)?(top|recall)\d+(_.*)?|.*accuracy.*", name))


def name_measure(name: str) -> str:
    """Return ``digits, 5 shots`` for ``fewshot_digits_5``, ``top-1`` for ``eval_top1``; another name as it is."""
    match = re.fullmatch(r"fewshot_(.*)_(\d+)", name)
    return (
        f"{match[1]}, {match[2]} shot{'s' * (match[2] != '1')}" if match else format_metric(name.removeprefix("eval_"))
    )


def choose_curves(curves: Sequence[Curve], highest: bool = True) -> tuple[list[Curve], str]:
    """Return at most ``MAX_CURVES`` curves of few points, and a note if there are more."""

    def badness(curve: Curve) -> float:
        return (-curve.y[-1] if highest else curve.y[-1]) if curve.y and math.isfinite(curve.y[-1]) else math.inf

    shown, note = [*curves], ""
    if len(curves) > MAX_CURVES:
        ranked = sorted(curves, key=badness)
        others = ranked[MAX_BEST:]
        step = len(others) / (MAX_CURVES - MAX_BEST)
        shown = ranked[:MAX_BEST] + [others[int(number * step)] for number in range(MAX_CURVES - MAX_BEST)]
        note = (
            f"Of {len(curves)} curves the {MAX_BEST} that end best and {MAX_CURVES - MAX_BEST} others, evenly by rank."
        )
    points = MAX_VALUES // max(1, len(shown))
    return [curve if curve.ci95 else thin_curve(curve, points) for curve in shown], note


def thin_curve(curve: Curve, points: int) -> Curve:
    """Return a curve with at most that many points."""
    return make_curve(curve.label, history.thin_out(zip(curve.x, curve.y), points))


def list_few_shot(material: Material) -> Section:
    """Return the section with accuracy against shots, for each data set."""
    section = Section("Few-shot accuracy")
    number = 0
    for table in material.comparison.tables:
        shots = [int(name[4:]) for name in table.metrics if re.fullmatch(r"shot\d+", name)]
        if not shots:
            continue
        number += 1
        labelled = [(table, row) for row in table.rows]
        curves = [make_shot_curve(material, row, label_row(table, row, labelled), shots) for row in table.rows]
        chosen, note = choose_curves(curves)
        section.add(chart_figure(name_chart(draw_few_shot(chosen), number, f"Few-shot accuracy: {table.data}", note)))
    return section


def make_shot_curve(material: Material, row: Row, label: str, shots: Sequence[int]) -> Curve:
    """Return the accuracies of a row in percent by shots, with the intervals of its first run if it is alone."""
    shown = [shot for shot in shots if f"shot{shot}" in row.metrics]
    values = [100 * row.metrics[f"shot{shot}"].mean for shot in shown]
    own = from_plain(material.by_name[row.runs[0]].result) if len(row.runs) == 1 else {}
    halves = [getattr(own.get(f"shot{shot}"), "ci95", None) for shot in shown]
    ci95 = [100 * half for half in halves if half is not None]
    return Curve(label, shown, values, ci95 if len(ci95) == len(shown) else None)


def list_learning_rates(material: Material) -> Section:
    """Return the section with accuracies against learning rates: of searches, and of runs that differ in it alone."""
    section = Section("Learning rates")
    number = 0
    for run in material.runs:
        trials = run.result.get("trials")
        if run.state in ("search", "finished") and isinstance(trials, list) and trials:
            number += 1
            best = run.result.get("lr")
            measured = "held-out AP" if "AP" in run.result else "held-out accuracy"
            chart = draw_lr_grid(*read_trials(trials, best, measured), measured)
            section.add(chart_figure(name_chart(chart, number, f"Search of {run.name}: {run.facts['data']}")))
    for title, what, curves in list_sweeps(material):
        number += 1
        chart = draw_lr_grid(curves, measured=f"test {what}")
        note = f"Test {what} of finished runs that differ in the learning rate and the seed alone; means over seeds."
        section.add(chart_figure(replace(name_chart(chart, number, f"Learning rates: {title}"), note=note)))
    if len(section.blocks) > MAX_CHARTS:
        left = len(section.blocks) - MAX_CHARTS
        section.blocks[MAX_CHARTS:] = [Note(f"{left} more are left out; only=PART shows fewer runs.")]
    return section


def read_trials(trials: Sequence[object], best: object, measured: str) -> tuple[list[Curve], list[tuple[float, float]]]:
    """Return what was measured of trials in percent by learning rate, a curve a weight decay; and the best one."""
    points: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        if isinstance(trial, dict) and is_number(lr := trial.get("lr")):
            score, decay = trial.get("top1", trial.get("AP")), trial.get("weight_decay")
            value = 100 * score if is_number(score) else math.nan  # its training broke down
            points.setdefault("" if decay is None else f"weight decay {decay}", []).append((lr, value))
    curves = [make_curve(label or measured, sorted(some)) for label, some in points.items()]
    finite = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y) if x == best and math.isfinite(y)]
    return curves, sorted(finite, key=lambda point: -point[1])[:1]


def list_sweeps(material: Material) -> Iterator[tuple[str, str, list[Curve]]]:
    """Yield the data set, what is measured, and that in percent by learning rate of runs that differ in it alone."""
    for table in material.comparison.tables:
        score = next((name for name in ("top1", "AP") if name in table.metrics), None)
        if score is None or "optim.lr" not in table.options:
            continue
        groups: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        for row in table.rows:
            if score in row.metrics and (lr := parse_rate(row.options.get("optim.lr", ""))):
                key = (*row.labels.items(), *((k, v) for k, v in row.options.items() if k != "optim.lr"))
                groups.setdefault(key, []).append((lr, 100 * row.metrics[score].mean))
        curves = [
            make_curve(
                ", ".join(text for name, value in key if (text := describe_label(name, value))), average_equal(points)
            )
            for key, points in groups.items()
            if len({lr for lr, _ in points}) >= MIN_RATES
        ]
        if curves:
            yield table.data, "AP" if score == "AP" else "accuracy", choose_curves(curves)[0]


def parse_rate(text: str) -> float | None:
    """Return a learning rate as a number; None if it is none, as in a recipe that was written by hand."""
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0 < rate < math.inf else None


def average_equal(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points in order, those of the same x averaged."""
    return [(x, fmean(y for other, y in points if other == x)) for x in sorted({x for x, _ in points})]
