"""``vitrun data``: the table of data sets, one row of it, or the content of a folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from vitrun import recipes
from vitrun.config import data_args
from vitrun.data.sources.facts import Facts
from vitrun.data.sources.registry import find_source
from vitrun.data.sources.vtab.check import check_originals
from vitrun.data.summary import open_parts, print_summary, report_unreadable
from vitrun.errors import shorten
from vitrun.recipes import tables
from vitrun.runtime.console import Screen
from vitrun.runtime.text_tables import format_table

HEADER = ["data=", "classes", "train", "test", "Hub id", "licence"]  # and of a single row the last one
IN_PAPER = "in the paper"
PAGE_FILE = "data.html"  # in the working folder


def execute(recipe: recipes.ListData, screen: Screen) -> dict[str, Any]:
    """Print one row per data set: its sizes, where it comes from and its name in the paper; or summarize a folder.

    Return the rows, under ``data``, or what the folder holds, under ``splits`` or ``tasks``.
    """
    if recipe.data is not None:
        if recipe.name == data_args.VTAB:
            root = cast(recipes.Vtab, recipe.data).root
            return {"tasks": check_originals(Path(root or ""), recipe.save, screen, recipe.force)}
        return look_into(recipe, recipe.data, screen)
    rows, errors = tables.load_rows("data", recipes.Data)
    if recipe.name == data_args.VTAB:
        rows = {name: row for name, row in rows.items() if isinstance(row, recipes.Vtab)}
    elif recipe.name:
        rows = {recipe.name: rows[recipe.name]}
    facts = {name: find_source(row).facts(row) for name, row in rows.items()}
    cells = [[name, *format_row(row)] for name, row in facts.items()]
    if recipe.name is None:  # no room: without revisions and names in the paper
        cells = [[*row[:4], row[4].partition("@")[0], row[5]] for row in cells]
    screen.print(format_table(HEADER if recipe.name is None else [*HEADER, IN_PAPER], cells))
    for error in [] if recipe.name else errors:
        screen.warn(shorten(f"Not listed: {error}"))
    screen.log(describe_rows(recipe.name))
    return {"data": [{"name": name, **asdict(row)} for name, row in facts.items()]}


def look_into(recipe: recipes.ListData, source: recipes.Data, screen: Screen) -> dict[str, Any]:
    """Print what the files of a data set hold and, if asked, write the page about it; return the rows of its parts.

    Raise UserError in the end if images cannot be read.
    """
    if not recipe.show:
        summary = print_summary(*open_parts(source, screen), screen)
        report_unreadable(summary.unreadable, screen)
        return {"splits": summary.rows}
    from vitrun.commands import data_page, data_pictures, page_file  # import matplotlib

    file = recipe.save or Path(PAGE_FILE)
    page_file.check_page_file(file)
    parts, overrides = open_parts(source, screen)
    summary = print_summary(parts, overrides, screen)
    surveyed = data_pictures.survey_parts(recipe, parts, screen)
    page_file.write_page(data_page.make_page(recipe, surveyed), file, screen, recipe.force)
    decoded = {part: survey.unreadable for part, survey in surveyed.surveys.items()}
    report_unreadable({part: why | dict(decoded.get(part, {})) for part, why in summary.unreadable.items()}, screen)
    return {"splits": summary.rows, "page": str(file)}


def describe_rows(name: str | None) -> str:
    """Return the line below the table, or below one row of it."""
    if name == data_args.VTAB:
        return "To check which originals are present and exact: vitrun data vtab data.root=FOLDER"
    if name is None:
        return (
            "Rows without a Hub id need data.path=FOLDER; for the others it reads a local copy. More about one: "
            "vitrun data NAME. The content of a folder: vitrun data NAME data.path=FOLDER"
        )
    row = tables.load_data_row(name)
    return f"{name}: {tables.list_groups('data')['data'][name]}.{find_source(row).facts(row).origin}"


def format_row(facts: Facts) -> list[str]:
    """Return the cells of a data set's row after its name."""
    numbers = [f"{number:,}" if number else "-" for number in (facts.classes, facts.train_images, facts.test_images)]
    return [*numbers, *(text or "-" for text in (facts.hub, facts.licence, facts.paper))]
