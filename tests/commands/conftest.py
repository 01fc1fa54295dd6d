"""Fixtures of the tests of `compare`."""

import csv
import json

import pytest
import yaml

from vitrun import choices, compare, run, start
from vitrun.screen import Screen


@pytest.fixture
def finish(tmp_path):
    """Makes the folder of a finished run of the words, with options set afterwards, that found a result: its name."""
    (tmp_path / "runs").mkdir()

    def finish(words: tuple[str, ...], result: dict, more: dict, images: str = "") -> str:
        verb, *rest = (word.format(here=tmp_path) for word in words)
        made = start.load(verb, [*rest, f"runs={tmp_path / 'runs'}"])
        folder = tmp_path / "runs" / run.name(verb, made)
        folder.mkdir()
        (folder / "recipe.yaml").write_text(yaml.safe_dump(choices.plain(made) | more))
        (folder / "about.json").write_text(json.dumps({"train_data": images, "torch": "2"}))
        (folder / "result.json").write_text(json.dumps({"result": result, "finished": 0.0}))
        return folder.name

    return finish


@pytest.fixture
def show(tmp_path, capsys):
    """What compare prints, as the cells of its table by row and column, and as text."""

    def show(*words: str, save: str = "table") -> tuple[dict[tuple[str, str], str], str]:
        compare.main(start.load("compare", [f"runs={tmp_path / 'runs'}", f"save={tmp_path / save}", *words]), Screen())
        with open(tmp_path / "table.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        first = next(iter(rows[0]))
        return {(row[first], k): text for row in rows for k, text in row.items() if text}, capsys.readouterr().out

    return show
