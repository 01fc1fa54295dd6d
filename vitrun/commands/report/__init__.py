"""``vitrun report``: one HTML page about runs, which loads nothing from elsewhere."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import vitrun
from vitrun import recipes
from vitrun.commands.page_file import check_page_file, write_page
from vitrun.commands.report import (
    boxes_section,
    curves_section,
    predictions_section,
    results_section,
    runs_section,
    transfer_section,
)
from vitrun.commands.report.gather import Material, gather_run, gather_runs
from vitrun.errors import UserError
from vitrun.plots.page import Page
from vitrun.runtime.console import Screen
from vitrun.runtime.files import write_text_atomic

REPORT_FILE = "report.html"  # in the folder of a run
FILTERED_RUNS = 5  # from this many runs on the page has a filter


def execute(recipe: recipes.Report, screen: Screen) -> dict[str, Any]:
    """Write the page about the runs that are selected; return its path, and how many runs it shows."""
    check_page_file(recipe.save)
    material = gather_runs(recipe)
    page = make_page(material, recipe.detailed)
    shown = [section.title for section in page.sections if section.blocks]
    screen.log(f"{describe_runs(material)}: {', '.join(shown)}")
    write_page(page, recipe.save, screen, recipe.force)
    return {"path": str(recipe.save), "runs": len(material.runs), "sections": shown}


def write_run_report(folder: Path, screen: Screen) -> None:
    """Write the page about one run, and the runs that it is made of, into its folder; warn if that fails.

    The run is finished: its page must not make it fail.
    """
    try:
        text = make_page(gather_run(folder), detailed=1).to_html()
        write_text_atomic(folder / REPORT_FILE, text)
    except (UserError, OSError) as error:
        screen.warn(f"No report was written: {error}")
    else:
        screen.log(f"report: {folder / REPORT_FILE}")


def make_page(material: Material, detailed: int) -> Page:
    """Return the page of runs."""
    is_filtered = len(material.runs) >= FILTERED_RUNS
    page = Page(
        title=material.subject or f"Runs in {'/'.join(material.place.absolute().parts[-2:])}",
        lead=[describe_runs(material)],
        filtered="runs" if is_filtered else "",
        footer=f"Made by vitrun {vitrun.__version__} on {time.strftime('%Y-%m-%d %H:%M %Z')}.",
    )
    page.sections += [
        *([results_section.describe_result(material)] if material.subject in material.by_name else []),
        runs_section.list_runs(material, is_filtered),
        results_section.list_results(material),
        curves_section.list_training(material),
        transfer_section.list_compute(material),
        transfer_section.list_sizes(material),
        curves_section.list_few_shot(material),
        curves_section.list_learning_rates(material),
        transfer_section.list_vtab(material),
        *predictions_section.list_predictions(material, detailed),
        *boxes_section.list_boxes(material, detailed),
        runs_section.list_origins(material),
        runs_section.list_left_out(material),
    ]
    return page


def describe_runs(material: Material) -> str:
    """Return ``5 runs (1 pretrain, 4 finetune) on digits, shapes; 1 not finished``."""
    commands = Counter(run.command for run in material.runs)
    data = sorted({str(run.facts["data"]) for run in material.runs})
    kinds = ", ".join(f"{number} {command}" for command, number in commands.items())
    places = ", ".join(data[:5]) + (f" and {len(data) - 5} more" if len(data) > 5 else "")
    open_runs = sum(not run.result for run in material.runs)
    state = f"; {open_runs} not finished" if open_runs else ""
    number = len(material.runs)
    return f"{number} run{'s' * (number != 1)} ({kinds}) on {places}{state}"
