"""``vitrun fewshot`` on several data sets, one after another in one process."""

from collections.abc import Callable
from typing import Any

from vitrun.config import provenance, resolve, unused
from vitrun.runs.jobs import check_all_succeeded, run_jobs, tabulate_results
from vitrun.runtime import distributed
from vitrun.runtime.console import Screen


def run_datasets(
    jobs: list[list[str]], cfg: bool, dry: bool, execute: Callable[[list[str], Any], dict[str, Any]], screen: Screen
) -> None:
    """Execute the recipe of each data set, all checked before the first; print a table, or one JSON object."""
    with distributed.propagate_errors(), distributed.rank_zero_first():
        recipes = [resolve.resolve_recipe("fewshot", job, running=not cfg, pinning=not (cfg or dry)) for job in jobs]
        unused.check_unused("fewshot", list(zip(jobs, recipes)))
    if cfg:
        if distributed.rank() == 0:
            print("\n\n".join(provenance.format_config("fewshot", *pair) for pair in zip(jobs, recipes)))
        return
    names = [next(override.removeprefix("data=") for override in job if override.startswith("data=")) for job in jobs]
    results, errors = run_jobs(dict(zip(names, zip(jobs, recipes))), lambda job: execute(*job), screen.log, screen.warn)
    if screen.as_json:
        screen.print_result(results)
    elif results:
        screen.print(tabulate_results(results, "data"))
    check_all_succeeded(errors, len(recipes))
