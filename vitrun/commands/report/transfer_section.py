"""Sections of a report about transfer: against the compute and the size of pretraining, and on VTAB's tasks."""

from collections.abc import Iterator
from dataclasses import replace

from vitrun import papers
from vitrun.commands.report.curves_section import MAX_CHARTS, choose_curves
from vitrun.commands.report.gather import Material
from vitrun.papers import names
from vitrun.plots.page import Note, Section, chart_figure
from vitrun.plots.paper import draw_panels
from vitrun.plots.points import Curve, Panel, Point, Scores
from vitrun.plots.transfer import draw_vtab
from vitrun.runs.paper_figures import collect_figure
from vitrun.runs.pivot import serialize_setting

TITLES = {"figure3": "Fine-tuning", "figure4": "Few-shot accuracy", "figure5": "Accuracy"}  # before "against ..."
VTAB_TABLE = "table9"
MAX_POINTS = 150  # own points of one chart: of more the best
MAX_MODELS = 8  # of VTAB's chart


def list_compute(material: Material) -> Section:
    """Return the section with accuracy after transfer against pretraining compute (figure 5 of the paper)."""
    return draw_figures(material, Section("Accuracy against pretraining compute"), "figure5")


def list_sizes(material: Material) -> Section:
    """Return the section with accuracy after transfer against pretraining set size (figures 3 and 4 of the paper)."""
    return draw_figures(material, Section("Transfer against pretraining set size"), "figure3", "figure4")


def draw_figures(material: Material, section: Section, *figures: str) -> Section:
    """Add a chart for each panel of these figures in which there are runs; return the section."""
    shown = [run.counted for run in material.runs if run.counted]
    sources = [run for name, run in material.upstream.items() if name not in material.by_name]
    runs = [*shown, *(run for run in sources if run.command == "pretrain")]
    collected = [collect_figure(name, runs) for name in figures]
    charts = [(figure, panel) for figure in collected for panel in figure.panels if has_own_numbers(panel)]
    for number, (figure, panel) in enumerate(charts[:MAX_CHARTS], 1):
        few, note = limit_items(panel)
        title = f"{TITLES[figure.name]} against {figure.xlabel}: {panel.quantity}"
        section.add(chart_figure(draw_panels(f"{figure.name}_{number}", title, figure.xlabel, [few], note)))
    if len(charts) > MAX_CHARTS:
        section.add(Note(f"{len(charts) - MAX_CHARTS} more data sets are left out; where=data=NAME chooses one."))
    return section


def has_own_numbers(panel: Panel) -> bool:
    """Return whether runs are in a panel, with something beside them: other runs, other sizes, or published numbers."""
    own = [item for item in panel.items if not item.source]
    return bool(own) and (len(panel.items) > 1 or any(isinstance(item, Curve) and len(item.x) > 1 for item in own))


def limit_items(panel: Panel) -> tuple[Panel, str]:
    """Return a panel with at most that many runs as a chart can show, and a note if there are more."""
    published = [item for item in panel.items if item.source]
    points = [item for item in panel.items if not item.source and isinstance(item, Point)]
    curves = [item for item in panel.items if not item.source and isinstance(item, Curve)]
    few, note = choose_curves(curves)
    if len(points) > MAX_POINTS:
        points = sorted(points, key=lambda point: -point.y)[:MAX_POINTS]
        note = f"Of more runs the {MAX_POINTS} best are shown."
    return replace(panel, items=[*published, *points, *few]), note


def list_vtab(material: Material) -> Section:
    """Return the section with the accuracy on each task of VTAB, beside published ones."""
    models = list(list_own_scores(material))
    if not models:
        return Section("VTAB by group")
    shown = sorted(models, key=lambda model: (-len(model.values), -sum(model.values.values())))[:MAX_MODELS]
    chart = draw_vtab([*shown, *list_published_scores()], names.VTAB_GROUPS)
    note = f"Of {len(models)} settings the {MAX_MODELS} with most tasks." if len(models) > MAX_MODELS else ""
    return Section("VTAB by group", [chart_figure(replace(chart, note=" ".join(filter(None, (chart.note, note)))))])


def list_own_scores(material: Material) -> Iterator[Scores]:
    """Yield the accuracies in percent by task of each setting in which a task of VTAB was trained."""
    settings: dict[str, dict[str, list[float]]] = {}
    labels: dict[str, str] = {}
    for run in material.runs:
        task = run.facts["data"]
        if run.counted and task in names.VTAB_TASKS.values() and "top1" in run.counted.metrics:
            key = serialize_setting(run.counted)
            settings.setdefault(key, {}).setdefault(str(task), []).append(100 * run.counted.metrics["top1"].mean)
            labels[key] = ", ".join(filter(None, (run.facts["model"], run.facts["upstream"], run.facts["protocol"])))
    for key, tasks in settings.items():
        yield Scores(labels[key], {task: sum(values) / len(values) for task, values in tasks.items()})


def list_published_scores() -> Iterator[Scores]:
    """Yield the published accuracies by task of each model that has any."""
    models: dict[tuple[str, str], dict[str, float]] = {}
    sources: dict[tuple[str, str], str] = {}
    for number in papers.load_table(VTAB_TABLE).numbers:
        if number.fields.get("data") in names.VTAB_TASKS.values():
            key = number.fields["model"], number.fields.get("upstream", "")
            models.setdefault(key, {})[number.fields["data"]] = number.value
            sources[key] = number.source
    for key, tasks in models.items():
        yield Scores(", ".join(filter(None, key)), tasks, sources[key])
