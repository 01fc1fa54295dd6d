"""Sections of a report about the runs themselves: the list of all, and what each was made with."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeGuard

import yaml

from vitrun.commands.comparison_tables import format_metric
from vitrun.commands.report.gather import MAX_RECIPES, Material, ReportedRun
from vitrun.plots.page import Block, Cell, Code, Column, Details, Facts, Note, Row, Section, Table
from vitrun.recipes import RECIPE_FILE, trees
from vitrun.runs.comparison import choose_metrics
from vitrun.runs.cost import Cost
from vitrun.runs.groups import list_differences
from vitrun.runs.results import MAX_NUMBER
from vitrun.runs.run_files import METRICS_FILE
from vitrun.runtime.text_format import format_duration

MAX_OPTIONS = 12  # columns of the table of options
MAX_VALUE = 40  # characters of an option
RUN_COLUMNS = (
    Column("run"),
    Column("command"),
    Column("model"),
    Column("data"),
    Column("weights", about="what they were pretrained on"),
    Column("state"),
    Column("metric"),
    Column("value", "%", numeric=True, about="mean over draws for few-shot"),
    Column("steps", numeric=True),
    Column(
        "compute", "exaFLOP", numeric=True, about="of training, forward and backward, as the paper's table 6 counts"
    ),
    Column("time", numeric=True, about="of training"),
    Column("speed", "images/s", numeric=True),
    Column("finished", "UTC"),
)


def list_runs(material: Material, is_filtered: bool) -> Section:
    """Return the section with a row for each run; the page has a filter if ``is_filtered``."""
    rows = [Row(list(list_run_cells(run, material)), run.name) for run in material.runs]
    columns = [
        column for number, column in enumerate(RUN_COLUMNS) if any(row.values[number] is not None for row in rows)
    ]
    shown = [number for number, column in enumerate(RUN_COLUMNS) if column in columns]
    rows = [Row([row.values[number] for number in shown], row.key) for row in rows]
    table = Table(columns, rows, "Runs, the newest first", is_index=True)
    about_filter = " The filter above hides runs here and in all tables below; charts show all." if is_filtered else ""
    return Section("Runs", [table, Note(f"Headings sort the tables.{about_filter}")])


def list_run_cells(run: ReportedRun, material: Material) -> Iterator[Cell | float | str | None]:
    """Yield the cells of a run, in the order of ``RUN_COLUMNS``."""
    yield Cell(run.name, link=material.anchors.get(run.name, ""))
    yield run.command
    yield run.facts["model"] or run.label("model")
    yield run.facts["data"]
    yield run.facts["upstream"]
    yield f"{run.state}: {run.detail}"[:120] if run.detail else run.state
    yield from list_result_cells(run)
    cost, history = run.counted.cost if run.counted else Cost(), material.histories[run.name]
    yield format_count(cost.steps or history.steps or None)
    yield None if cost.exaflop is None else Cell(f"{cost.exaflop:.3g}", cost.exaflop)
    yield None if cost.seconds is None else Cell(format_duration(cost.seconds), cost.seconds)
    speed = run.result.get("images_per_second")
    yield Cell(f"{speed:,.0f}", speed) if is_number(speed) else None
    yield Cell(format_time(run.finished[1]), run.finished[1]) if run.result else None


def list_result_cells(run: ReportedRun) -> Iterator[Cell | str | None]:
    """Yield the name of the most important metric of a run, and its value; both empty if it has none."""
    names = choose_metrics(run.counted, ()) if run.counted else ()
    if not run.counted or not names:
        yield from (None, None)
        return
    name = names[0] if names[0] == "AP" else names[-1]  # of few-shot that with the most shots
    metric = run.counted.metrics[name]
    yield format_metric(name)
    is_share = metric.unit == "share"
    yield Cell(metric.percent() if is_share else f"{metric.mean:.4g}", metric.mean * (100 if is_share else 1))


def format_count(number: float | None) -> Cell | None:
    """Return a whole number with commas."""
    return None if number is None else Cell(f"{number:,.0f}", number)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value of a result is a number that can be shown."""
    return isinstance(value, int | float) and abs(value) < MAX_NUMBER


def format_time(seconds: float) -> str:
    """Return a time as ``2026-01-31 12:00``; nothing for one that no calendar has."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return ""


def list_origins(material: Material) -> Section:
    """Return the section of what runs were made with: deviations from recipes, options, code, machine, data."""
    section = Section("What was run", [list_deviations(material)])
    if options := list_options(material.runs):
        section.add(options)
    if len(material.runs) <= MAX_RECIPES:
        return section.add(*(describe_run(material, run) for run in material.runs))
    return section.add(
        Note(
            f"Of {len(material.runs)} runs the recipes are left out, to keep the page small: up to {MAX_RECIPES} are "
            f"shown. They are in {material.place}/RUN/{RECIPE_FILE}; only=PART shows fewer runs."
        )
    )


def list_deviations(material: Material) -> Table:
    """Return the table of recipes, deviations from them, code, machine and data."""
    columns = [Column(name) for name in ("run", "recipe", "deviations", "commit", "machine", "data", "seed")]
    rows = []
    for run in material.runs:
        deviations = run.deviations
        recipe = deviations.recipe.partition(" (")[0] if deviations else None
        differing = "; ".join(map(str, deviations.options)) or "none" if deviations else None
        commit = str(run.about.get("commit") or run.about.get("vitrun") or "")[:12]
        data = ", ".join(f"{key.removesuffix('_data')} {run.about[key]}" for key in list_data_keys(run))
        seed = run.options.get("seed")
        values = (run.name, recipe, differing, commit, format_machine(run), data, None if seed is None else str(seed))
        rows.append(Row(values, run.name))
    return Table(columns, rows, "Recipes and what differs from them, code, machine, fingerprints of the data")


def list_data_keys(run: ReportedRun) -> list[str]:
    """Return the keys of the fingerprints of a run's data."""
    return [key for key in run.about if key.endswith("_data")]


def format_machine(run: ReportedRun) -> str:
    """Return ``x86_64, 2 cores; cpu, bf16``."""
    computing = run.about["computing"]
    ranks = computing.get("ranks", 1)
    parts = [computing.get("device"), computing.get("precision"), f"{ranks} ranks" if ranks != 1 else None]
    return "; ".join(filter(None, (str(run.about.get("machine") or ""), ", ".join(map(str, filter(None, parts))))))


def list_options(runs: Sequence[ReportedRun]) -> Table | None:
    """Return the table of the options in which runs of one command differ; None if there are none."""
    names: dict[str, None] = {}
    for command in dict.fromkeys(run.command for run in runs):
        flat = [run.computed for run in runs if run.command == command]
        names |= dict.fromkeys(name for name in list_differences(flat) if not name.startswith(("data.", "model.name")))
    shown = [*names][:MAX_OPTIONS]
    if not shown:
        return None
    rows = [Row([run.name, *(format_option(run, name) for name in shown)], run.name) for run in runs]
    more = f" ({len(names) - len(shown)} more are in their recipes)" if len(names) > len(shown) else ""
    return Table([Column("run"), *(Column(name) for name in shown)], rows, f"Options in which the runs differ{more}")


def format_option(run: ReportedRun, name: str) -> str | None:
    """Return an option of a run as it is typed, shortened; None if its command has none of that name."""
    if name not in run.computed:
        return None
    text = trees.format_value(run.computed[name])
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def describe_run(material: Material, run: ReportedRun) -> Details:
    """Return the recipe of a run and where it was computed, folded."""
    history = material.histories[run.name]
    libraries, computing = run.about["libraries"], run.about["computing"]
    facts = {
        "state": f"{run.state}: {run.detail}" if run.detail else run.state,
        "recipe": run.deviations.recipe if run.deviations else "",
        "deviations from it": "; ".join(map(str, run.deviations.options)) or "none" if run.deviations else "",
        "machine": format_machine(run),
        "threads": computing.get("threads", ""),
        "micro-batch (images)": computing.get("micro_batch", ""),
        "git commit": run.about.get("commit") or "",
        "vitrun": run.about.get("vitrun", ""),
        "Python": run.about.get("python", ""),
        "libraries": ", ".join(f"{name} {version}" for name, version in libraries.items()),
        "weights (BLAKE3)": run.about.get("weights") or "",
        **{f"{key.removesuffix('_data')} data (fingerprint)": run.about[key] for key in list_data_keys(run)},
        "read from": run.about.get("source") or "",
        "started": ", ".join(history.started),
        "folder": run.folder,
    }
    blocks: list[Block] = [Facts({name: value for name, value in facts.items() if value != ""})]
    blocks.append(Code(yaml.safe_dump(run.options, sort_keys=False, allow_unicode=True)))
    return Details(f"{run.name}: recipe and environment", blocks, run.name, material.anchors[run.name])


def list_left_out(material: Material) -> Section:
    """Return the section of runs that could not be read, and of those that are in no table of results."""
    in_tables = {name for table in material.comparison.tables for row in table.rows for name in row.runs}
    missing = [run for run in material.runs if run.name not in in_tables]
    rows = [Row([run.name, run.reason.value, run.detail]) for run in material.left_out]
    rows += [Row([run.name, run.state, run.detail or explain(run)], run.name) for run in missing]
    table = Table([Column("run"), Column("state"), Column("why")], rows, "Runs that are in no table of results")
    return Section("Left out of the results", [table] if rows else [])


def explain(run: ReportedRun) -> str:
    """Return why a run is in no table of results."""
    reasons = {
        "not finished": f"it has no result yet; its steps are those of {METRICS_FILE}",
        "trial": "it was scored on images held out of training",
        "search": "the runs that it is made of are in the tables",
    }
    return reasons.get(run.state, "another run has the same result, or it has no metric that is compared")
