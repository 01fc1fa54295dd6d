"""Fixtures of the tests of `compare`."""

import csv
import json

import pytest
import yaml

from vitrun.commands import compare
from vitrun.config import resolve
from vitrun.runs import metrics, naming, run
from vitrun.runtime.console import Screen


@pytest.fixture
def make_finished_run(tmp_path):
    """Make the folder of a finished run with this result, some options set afterwards; return its name."""
    (tmp_path / "runs").mkdir()

    def make_finished_run(overrides: tuple[str, ...], result: dict, more: dict, images: str = "") -> str:
        command, *rest = (override.format(here=tmp_path) for override in overrides)
        made = resolve.resolve_recipe(command, [*rest, f"runs={tmp_path / 'runs'}"])
        folder = tmp_path / "runs" / run.run_name(command, made)
        folder.mkdir()
        (folder / "recipe.yaml").write_text(yaml.safe_dump(naming.to_saved_tree(command, made) | more))
        (folder / "about.json").write_text(json.dumps({"train_data": images, "torch": "2"}))
        stored = metrics.to_plain(result)
        (folder / "result.json").write_text(json.dumps({"result": stored, "finished": 0.0}))
        return folder.name

    return make_finished_run


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
