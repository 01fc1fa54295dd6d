"""``vitrun compare``: finished runs beside the paper's published numbers."""

import csv
import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from vitrun import choices, recipe
from vitrun.checkpoints import read_json, write_file
from vitrun.init import finished, model_of, recipe_of
from vitrun.mistakes import Exit, Mistake, unknown
from vitrun.screen import Screen, table

PUBLISHED = Path(__file__).parent / "published"
SHORT = ("model", "data", "upstream", "verb")  # names that stand for a whole part of a recipe


@dataclass(frozen=True)
class Cell:
    """Runs that differ in nothing but the seed, and what they found for one value, as a share."""

    row: str
    column: str
    mean: float
    std: float | None
    runs: tuple[str, ...]


def main(recipe: recipe.Compare, screen: Screen) -> None:
    """Print the table, and write it as ``save.csv`` and ``save.json``."""
    for name in (*recipe.rows, *recipe.columns):
        check(name)
    found = read_runs(recipe)
    paper = {} if recipe.paper == "none" else published(recipe.paper)
    if not found and not paper:
        raise Mistake(f"No finished {' or '.join(recipe.verbs)} run in {recipe.runs.absolute()}.", Exit.DATA)
    cells = tabulate(recipe, found)
    texts = {(cell.row, cell.column): percent(cell.mean * 100, cell.std and cell.std * 100) for cell in cells}
    texts |= {
        (row, column): percent(*pair) for column, rows in paper.get("columns", {}).items() for row, pair in rows.items()
    }
    columns = list(dict.fromkeys(column for _, column in texts))
    rows = [
        [row, *(texts.get((row, column), "") for column in columns)] for row in dict.fromkeys(row for row, _ in texts)
    ]
    header = [", ".join(recipe.rows), *columns]
    screen.say(table(header, rows))
    screen.say("Top-1 in percent; ± is the deviation over seeds (few-shot: over draws).")
    if paper:
        screen.say(f"The last {len(paper['columns'])} columns: {paper['source']}.")
    if not found:
        screen.say(f"There is no finished {' or '.join(recipe.verbs)} run in {recipe.runs} yet.")
    write_files(recipe.save, header, rows, cells)
    screen.say(f"Written to {recipe.save}.csv and {recipe.save}.json")


def read_runs(recipe: recipe.Compare) -> list[dict]:
    """Every finished run of the chosen verbs: its name, verb, recipe and result."""
    runs = []
    for folder in finished(recipe.runs):
        verb = folder.name.split("-")[0]
        if verb in recipe.verbs:
            options = recipe_of(folder.name, recipe.runs)
            result = read_json(folder / "result.json")["result"]
            runs.append({"name": folder.name, "verb": verb, "recipe": options, "result": result, "runs": recipe.runs})
    return runs


def tabulate(recipe: recipe.Compare, runs: list[dict]) -> list[Cell]:
    """The cells of the table, averaged only over seeds.

    Where runs that differ in more would share a cell, the options in which they differ are added to the columns' names.
    """
    added: list[str] = []
    while True:
        groups: dict[tuple[str, str, str], list[dict]] = {}
        for run in runs:
            for value in recipe.values:
                if value in run["result"]:
                    row = [option(run, name) for name in recipe.rows] + ([] if value == "top1" else [value])
                    column = [option(run, name) for name in recipe.columns] + [f"{k}={option(run, k)}" for k in added]
                    groups.setdefault((" ".join(row), " ".join(column), value), []).append(run)
        known = [*recipe.rows, *recipe.columns, *added]
        clash = next((name for group in groups.values() if (name := difference(group, known))), None)
        if clash is None:
            return [cell(row, column, value, group) for (row, column, value), group in groups.items()]
        added.append(clash)


def difference(group: list[dict], known: list[str]) -> str | None:
    """An option, not known as a label and not the seed, in which runs of a group differ."""
    flat = [dict(flatten(run)) for run in group]
    keys = dict.fromkeys(key for options in flat for key in options)
    return next((k for k in keys if k not in ("seed", *known) and len({str(f.get(k)) for f in flat}) > 1), None)


def flatten(run: dict) -> list[tuple[str, Any]]:
    """Every option of a run's recipe that changes what it computes, its verb first."""
    options, how = run["recipe"], recipe.RECIPES[run["verb"]].how
    return [("verb", run["verb"])] + [
        (key, choices.reach(options, key)) for key in choices.leaves(options) if key.split(".")[0] not in how
    ]


def check(name: str) -> None:
    """A Mistake where no verb has an option of that name."""
    known = dict.fromkeys(key for verb in ("pretrain", "finetune", "fewshot", "eval") for key in choices.options(verb))
    if name not in (*SHORT, *known):
        raise Mistake(unknown("option to compare by", name, [*SHORT, *known]))


def option(run: dict, name: str) -> str:
    """What a run has for a label: an option of its recipe, or a short name."""
    options = run["recipe"]
    if name == "verb":
        return run["verb"]
    if name == "data":
        return options["data"]["name"]
    if name == "model":
        return options["model"]["name"] if "model" in options else model_of(options["init"])
    if name == "upstream":
        return upstream(options, run["runs"])
    return choices.show_value(choices.reach(options, name)) if name in choices.leaves(options) else "-"


def upstream(options: dict, runs: Path) -> str:
    """What the weights of a run were pretrained on: a data set, a file, a tag, or nothing (scratch)."""
    init = options.get("init")
    if init is None or init.startswith("random:"):
        return "scratch"
    source = recipe_of(init, runs)
    if source is None:
        return Path(init.partition("#")[0]).name
    return source["data"]["name"] if "model" in source else f"{upstream(source, runs)}, {source['data']['name']}"


def cell(row: str, column: str, value: str, group: list[dict]) -> Cell:
    """The mean of a group, and its deviation over seeds; few-shot results bring the deviation over their own draws."""
    numbers = [run["result"][value] for run in group]
    std = stdev(numbers) if len(numbers) > 1 else group[0]["result"].get(f"{value}_std")
    return Cell(row, column, mean(numbers), std, tuple(run["name"] for run in group))


def percent(value: float, std: float | None = None) -> str:
    """``85.30 ± 0.02``."""
    return f"{value:.2f}" + (f" ± {std:.2f}" if std is not None else "")


def published(name: str) -> dict:
    """A table of the paper, as data."""
    return yaml.safe_load((PUBLISHED / f"{name}.yaml").read_text(encoding="utf-8"))


def write_files(save: Path, header: list[str], rows: list[list[str]], cells: list[Cell]) -> None:
    """The table as CSV, and our cells with their runs as JSON."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    found = [{"row": c.row, "column": c.column, "mean": c.mean, "std": c.std, "runs": c.runs} for c in cells]
    try:
        write_file(save.with_name(f"{save.name}.csv"), text.getvalue())
        write_file(save.with_name(f"{save.name}.json"), json.dumps(found, indent=2))
    except OSError as error:
        raise Mistake(f"save={save}: cannot write there: {error.strerror}.", Exit.SPACE) from None
