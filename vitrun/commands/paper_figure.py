"""``vitrun compare paper=figure5``: numbers of a figure of the paper with those of runs, as table and picture."""

from functools import partial
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.commands.comparison_output import Output, write_json
from vitrun.plots.points import Curve, Panel
from vitrun.runs import results
from vitrun.runs.paper_figures import PaperFigure, collect_figure
from vitrun.runs.results import Reason
from vitrun.runtime.console import Screen

SUFFIXES = (".png", ".svg", ".csv", ".json")


def print_figure(recipe: recipes.Compare, screen: Screen) -> Output:
    """Print the numbers of a figure, published ones and those of runs."""
    runs, left_out = results.load_finished_runs(recipe.runs, only=recipe.only)
    figure = collect_figure(recipe.paper, runs)
    for panel in figure.panels:
        rows = list_rows(panel)
        if rows:
            screen.print_table(["model", figure.xlabel, panel.quantity, "source"], rows, 1, panel.quantity)
    screen.log(f"Figure {figure.name[-1]} of arXiv 2010.11929v2: {figure.title}. {figure.missing}")
    if all(source for panel in figure.panels for *_, source in list_numbers(panel)):
        screen.log(explain_absence(recipe))
    content = describe_figure(figure)
    unfinished = (Reason.DAMAGED, Reason.FAILED, Reason.UNFINISHED)
    writers = {suffix: partial(write_figure, figure, content, suffix) for suffix in SUFFIXES}
    return Output(content, tuple(run for run in left_out if run.reason in unfinished), writers)


def explain_absence(recipe: recipes.Compare) -> str:
    """Return which runs would be drawn."""
    what = "few-shot run with shots=5" if recipe.paper == "figure4" else "fine-tuning run"
    folder = recipe.runs.absolute()
    return f"None of your runs is drawn: {folder} has no finished {what} with weights of a pretraining run in it."


def list_numbers(panel: Panel) -> list[tuple[str, float, float, str]]:
    """Return the name, x, y and source of each point."""
    return [
        (item.label, x, y, item.source)
        for item in panel.items
        for x, y in (zip(item.x, item.y) if isinstance(item, Curve) else [(item.x, item.y)])
    ]


def list_rows(panel: Panel) -> list[list[str]]:
    """Return the rows of the printed table of a panel."""
    return [
        [label, f"{x:,.0f}" if x >= 10 else f"{x:.2g}", f"{y:.2f}", source or "your run"]
        for label, x, y, source in list_numbers(panel)
    ]


def describe_figure(figure: PaperFigure) -> dict[str, Any]:
    """Return a figure as a JSON object."""
    numbers = [
        {"panel": panel.quantity, "model": label, "x": x, "y": y, "source": source}
        for panel in figure.panels
        for label, x, y, source in list_numbers(panel)
    ]
    return {
        "paper": figure.name,
        "xlabel": figure.xlabel,
        "note": figure.missing,
        "ours": [number for number in numbers if not number["source"]],
        "published": [number for number in numbers if number["source"]],
    }


def write_figure(figure: PaperFigure, content: dict[str, Any], suffix: str, path: Path) -> None:
    """Write a figure in the format of a suffix; ``path``, which it is moved from, may have another."""
    from vitrun.plots import chart
    from vitrun.plots.paper import draw_panels

    if suffix == ".json":
        write_json(content, path)
        return
    drawn = draw_panels(figure.name, figure.title, figure.xlabel, figure.panels, figure.missing)
    if suffix == ".csv":
        path.write_text(chart.format_csv(drawn), encoding="utf-8")
    elif suffix == ".svg":
        path.write_text(chart.to_svg(drawn.figure, title=drawn.title, standalone=True), encoding="utf-8")
    else:
        chart.save_figure(drawn.figure, path, drawn.title)
