"""What `vitrun data vtab` prints and writes."""

import json
from pathlib import Path

from vitrun import start
from vitrun.data.table import main as check_data
from vitrun.screen import Screen


def check(root: Path, save: Path, capsys) -> tuple[str, dict]:
    """What ``vitrun data vtab data.root=`` says and writes."""
    recipe = start.load("data", ["vtab", f"data.root={root}", f"save={save}"])
    try:
        check_data(recipe, Screen())
    finally:
        said = capsys.readouterr().out
    return said, json.loads(save.read_text())


def row(said: str, task: str) -> list[str]:
    return next([cell.strip() for cell in line.split("|")[4:6]] for line in said.splitlines() if f"| {task} " in line)
