"""The output and the file of `vitrun data vtab`."""

import json
from pathlib import Path

from vitrun.commands.list_data import execute as check_data
from vitrun.config import resolve
from vitrun.runtime.console import Screen


def run_data_check(root: Path, save: Path, capsys) -> tuple[str, dict]:
    """Run ``vitrun data vtab data.root=ROOT save=SAVE``; return its output and the content of the saved file."""
    recipe = resolve.resolve_recipe("data", ["vtab", f"data.root={root}", f"save={save}"])
    try:
        check_data(recipe, Screen())
    finally:
        output = capsys.readouterr().out
    return output, json.loads(save.read_text())


def find_row(output: str, task: str) -> list[str]:
    """Return the cells of a task in the printed table: the number of images, and the order."""
    return next([cell.strip() for cell in line.split("|")[4:6]] for line in output.splitlines() if f"| {task} " in line)
