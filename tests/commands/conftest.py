"""Fixtures of the tests of `compare`."""

import csv
from functools import partial

import pytest

from helpers.runs import write_finished_run
from vitrun.commands import compare
from vitrun.config import resolve
from vitrun.runtime.console import Screen


@pytest.fixture
def make_finished_run(tmp_path):
    """Return a function that writes the folder of a finished run, and returns its name."""
    (tmp_path / "runs").mkdir()
    return partial(write_finished_run, tmp_path / "runs")


@pytest.fixture
def run_compare(tmp_path, capsys):
    """Return what `compare` prints: the cells of its table by row and column, and the text."""

    def run_compare(*overrides: str, save: str = "table") -> tuple[dict[tuple[str, str], str], str]:
        compare.execute(
            resolve.resolve_recipe(
                "compare", [f"runs={tmp_path / 'runs'}", f"save={tmp_path / save}", "force=true", *overrides]
            ),
            Screen(),
        )
        with open(tmp_path / "table.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        first = next(iter(rows[0]))
        return {(row[first], k): text for row in rows for k, text in row.items() if text}, capsys.readouterr().out

    return run_compare
