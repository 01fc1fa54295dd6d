"""Sections of a report about transfer: against the compute and the size of pretraining, and on VTAB's tasks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vitrun import papers
from vitrun.commands.report.curves_section import MAX_CHARTS, choose_curves, make_curve, name_chart
from vitrun.commands.report.gather import Material
from vitrun.commands.report.labels import label_row
from vitrun.papers import names
from vitrun.plots.page import Note, Section, chart_figure
from vitrun.plots.points import Point, Scores
from vitrun.plots.transfer import draw_compute, draw_pretraining_size, draw_vtab
from vitrun.runs.comparison_rows import Row, Table
from vitrun.runs.lookup import trace_init
from vitrun.runs.pivot import serialize_setting

COMPUTE_TABLE = "table6"  # published accuracies with the compute of pretraining
VTAB_TABLE = "table9"
MAX_POINTS = 150  # own points of one chart: of more the best
MAX_MODELS = 8  # of VTAB's chart


def list_compute(material: Material) -> Section:
    """Return the section with accuracy after transfer against pretraining compute, for each data set (figure 5)."""
    section = Section("Accuracy against pretraining compute")
    panels = [(table, points) for table in material.comparison.tables if (points := list_own_points(material, table))]
    for number, (table, points) in enumerate(panels[:MAX_CHARTS], 1):
        published = list_published_points(table.data)
        if len(points) + len(published) < 2:
            continue
        shown = sorted(points, key=lambda point: -point.y)[:MAX_POINTS]
        notes = [
            "Filled points are runs of this report, at the compute of all runs that their weights come from.",
            f"Of {len(points)} runs the {MAX_POINTS} best are shown." if len(points) > MAX_POINTS else "",
        ]
        chart = draw_compute([*shown, *published], "top-1 (%)")
        title = f"Accuracy against pretraining compute: {table.data}"
        section.add(chart_figure(name_chart(chart, number, title, " ".join(filter(None, notes)))))
    if len(panels) > MAX_CHARTS:
        section.add(Note(f"{len(panels) - MAX_CHARTS} more data sets are left out; where=data=NAME chooses one."))
    return section


def list_own_points(material: Material, table: Table) -> list[Point]:
    """Return the accuracies of the rows of a table whose weights come from runs here of known compute."""
    if "top1" not in table.metrics:
        return []
    labelled = [(table, row) for row in table.rows]
    points = []
    for row in table.rows:
        compute = sum_pretraining(material, row)
        if compute and "top1" in row.metrics:
            label = label_row(table, row, labelled)
            points.append(Point(label, compute, 100 * row.metrics["top1"].mean, find_family(row.labels["model"])))
    return points


def sum_pretraining(material: Material, row: Row) -> float | None:
    """Return the exaFLOP of the runs that the weights of a row come from; None if there are none or one is unknown."""
    init = material.by_name[row.runs[0]].options.get("init")
    total = 0.0
    while init and (source := material.upstream.get(init)):
        if source.cost.exaflop is None:
            return None
        total += source.cost.exaflop
        init = source.options.get("init")
    return total or None


def find_family(model: str) -> str:
    """Return the family of a model by its name in papers, or its own."""
    if "+" in model or model.startswith("r") and "_vit_" in model:
        return "hybrid"
    return "ResNet" if model.startswith(("R", "bit_")) else "ViT"


def list_published_points(data: str) -> list[Point]:
    """Return the published accuracies on a data set with the compute of pretraining; none if there are none."""
    numbers = papers.load_table(COMPUTE_TABLE).numbers
    costs = {model_key(number.fields): number.value for number in numbers if not number.percent}
    return [
        Point(name_model(number.fields), costs[key], number.value, find_family(number.fields["model"]), number.source)
        for number in numbers
        if number.percent and number.fields["data"] == data and (key := model_key(number.fields)) in costs
    ]


def model_key(fields: dict[str, str]) -> tuple[str, str]:
    """Return what a row of the table is of."""
    return fields["model"], fields["pretrain_epochs"]


def name_model(fields: dict[str, str]) -> str:
    """Return a model of the table, with its epochs if they are not the usual seven."""
    model, epochs = model_key(fields)
    return model if epochs == "7" else f"{model}, {epochs} epochs"


def list_sizes(material: Material) -> Section:
    """Return the section with accuracy after transfer against the number of pretraining images (figures 3 and 4)."""
    section = Section("Transfer against pretraining set size")
    number = 0
    for table in material.comparison.tables:
        metric = table.metrics[-1]
        groups: dict[str, list[tuple[float, float]]] = {}
        for row in table.rows:
            size = find_pretraining_size(material, row)
            if size and metric in row.metrics and row.metrics[metric].unit == "share":
                groups.setdefault(row.labels["model"], []).append((size, 100 * row.metrics[metric].mean))
        curves = [make_curve(model, keep_best(points)) for model, points in groups.items()]
        curves = [curve for curve in curves if len(curve.x) > 1]
        if curves:
            number += 1
            note = "Of several runs of one size the best is shown."
            chart = draw_pretraining_size(choose_curves(curves)[0], note=note)
            section.add(chart_figure(name_chart(chart, number, f"Transfer to {table.data} against pretraining images")))
    return section


def find_pretraining_size(material: Material, row: Row) -> int | None:
    """Return the number of images that the first run of a row's weights was trained on; None if it is not known."""
    sources = list(trace_init(material.by_name[row.runs[0]].options.get("init"), material.place))
    size = sources[-1][1]["data"].get("train_images") if sources else None
    return size if isinstance(size, int) else None


def keep_best(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the highest y of each x, in order."""
    return [(x, max(y for other, y in points if other == x)) for x in sorted({x for x, _ in points})]


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
