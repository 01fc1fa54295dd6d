"""``vitrun fewshot`` on several data sets, one after another in one process."""

import re
from collections.abc import Callable
from typing import Any

from vitrun.config import provenance, resolve, unused
from vitrun.runtime import distributed
from vitrun.runtime.console import Screen, format_table, format_value


def run_datasets(jobs: list[list[str]], cfg: bool, carry_out: Callable[[Any], dict], as_json: bool) -> None:
    """Carry out each of ``jobs``, all checked before the first; at the end a table of them, or one JSON object."""
    with distributed.propagate_errors(), distributed.rank_zero_first():
        recipes = [resolve.resolve_recipe("fewshot", job, running=not cfg) for job in jobs]
        unused.check_unused("fewshot", list(zip(jobs, recipes)))
    screen = Screen(as_json=as_json)
    if cfg:
        if distributed.rank() == 0:
            print("\n\n".join(provenance.format_config("fewshot", job, recipe) for job, recipe in zip(jobs, recipes)))
        return
    names = [next(override.removeprefix("data=") for override in job if override.startswith("data=")) for job in jobs]
    found = {name: carry_out(recipe) for name, recipe in zip(names, recipes)}
    if as_json:
        screen.print_result(found)
    else:
        screen.log(format_results(found))


def format_results(found: dict[str, dict]) -> str:
    """A row a data set, and a column for each number of shots or layer, in percent; of a rehearsal its numbers."""
    columns = list(dict.fromkeys(key for result in found.values() for key in result))
    measured = [key for key in columns if re.fullmatch(r"(shot|layer)\d+|last", key)]

    def cell(result: dict, key: str) -> str:
        if key not in measured:
            return format_value(result.get(key, ""))
        spread = f" +- {100 * result[f'{key}_std']:.1f}" if f"{key}_std" in result else ""
        return f"{100 * result[key]:.1f}{spread}" if key in result else ""

    shown = measured or columns
    return format_table(
        ["data", *shown], [[name, *(cell(result, key) for key in shown)] for name, result in found.items()]
    )
