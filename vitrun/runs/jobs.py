"""Carry out many runs one after another: in this process, or each in a process of its own.

Their recipes come resolved and checked, so that a wrong one is found before the first starts.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runs.metrics import METRICS_KEY, read_metrics
from vitrun.runs.run_files import LOG_FILE, load_result
from vitrun.runtime import subprocesses
from vitrun.runtime.stop import STOP_CODES
from vitrun.runtime.text_format import format_value
from vitrun.runtime.text_tables import draw_table, format_table

KILLED = 137  # the exit code of a process that SIGKILL ended
COSTS = ("waiting",)  # shares that say nothing of the network
Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    jobs: Mapping[str, Job],
    execute: Callable[[Job], Result],
    log: Callable[[str], None],
    warn: Callable[[str], None],
    tolerated: Sequence[ExitCode] | None = None,
) -> tuple[dict[str, Result], dict[str, UserError]]:
    """Execute each job in order; return the results of those that succeeded and the errors of those that failed.

    A job that fails with one of the ``tolerated`` exit codes (any, if None) does not stop the others.
    """
    results, errors = {}, {}
    for number, (name, job) in enumerate(jobs.items(), 1):
        log(f"[{number}/{len(jobs)}] {name}")
        try:
            results[name] = execute(job)
        except UserError as error:
            if tolerated is not None and error.status not in tolerated:
                raise
            errors[name] = error
            warn(f"{name} failed: {error}")
    return results, errors


def execute_as_process(
    command: str, overrides: Sequence[str], folder: Path | None = None, silent: bool = False
) -> dict[str, Any] | None:
    """Run ``vitrun <command> <overrides>`` as a process; return the result in its run ``folder``, if it makes one.

    Raise UserError with the exit code of a process that failed, and Interrupted if a signal stopped it.
    """
    status = subprocesses.run_process(command, overrides, silent)
    if status in STOP_CODES:
        raise Interrupted(ExitCode(status))
    check_status(status, folder)
    return load_result(folder) if folder else None


def check_status(status: int, folder: Path | None) -> None:
    """Raise UserError, which names the log of the run ``folder``, if the exit code of a process is not 0."""
    if status:
        log = f", see {folder / LOG_FILE}" if folder and (folder / LOG_FILE).exists() else ""
        killed = " (killed, as the kernel does where memory runs out)" if status == KILLED else ""
        raise UserError(f"exit status {status}{killed}{log}", status)


def check_all_succeeded(errors: Mapping[str, UserError], total: int) -> None:
    """Raise UserError, with the highest exit code, if one of ``total`` jobs failed."""
    if errors:
        raise UserError(
            f"{len(errors)} of {total} jobs failed: {'; '.join(errors)}. The same command repeats only these.",
            max(error.status for error in errors.values()),
        )


def estimate(kinds: Sequence[tuple[Job, int]], rehearse: Callable[[Job], dict[str, Any]]) -> dict[str, Any]:
    """Return what many runs cost together, from a dry run of one of each kind; ``kinds`` has the number of each."""
    costs = [(rehearse(job), count) for job, count in kinds]
    return {
        "runs": sum(count * cost.get("runs", 1) for cost, count in costs),
        "steps": costs[-1][0]["steps"],
        "hours": sum(count * cost["hours"] for cost, count in costs),
        "memory_gb": max(cost["memory_gb"] for cost, _ in costs),
    }


def tabulate_results(results: Mapping[str, dict[str, Any]], first_column: str) -> str:
    """Return a table with a row for each result and a column for each of its main values."""
    columns, cells = select_cells(results)
    rows = [[row, *(cells.get((row, name), "") for name in columns)] for row in results]
    return format_table([first_column, *columns], rows)


def tabulate_sweep(varied: Mapping[str, Mapping[str, str]], results: Mapping[str, dict[str, Any]]) -> str:
    """Return a table with a row for each job, columns for the options that vary, and for its main values."""
    columns, cells = select_cells(results)
    keys = list(dict.fromkeys(key for options in varied.values() for key in options))
    rows = [
        [*(varied[name].get(key, "") for key in keys), *(cells.get((name, column), "") for column in columns)]
        for name in results
    ]
    return draw_table([*keys, *columns], rows, len(keys))


def select_cells(results: Mapping[str, dict[str, Any]]) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Return the columns of a table of results and its cells by row and column: the shares of each, in percent.

    Of results without shares, as those of dry runs, it has a column for each value.
    """
    shares = {
        row: {
            name: metric
            for name, metric in read_metrics(result).items()
            if metric.unit == "share" and name not in COSTS
        }
        for row, result in results.items()
    }
    columns = list(dict.fromkeys(name for metrics in shares.values() for name in metrics))
    if columns:
        cells = {
            (row, name): f"{100 * metric.mean:.1f}" + ("" if metric.std is None else f" +- {100 * metric.std:.1f}")
            for row, metrics in shares.items()
            for name, metric in metrics.items()
        }
    else:
        columns = list(dict.fromkeys(name for result in results.values() for name in result if name != METRICS_KEY))
        cells = {(row, name): format_value(value) for row, result in results.items() for name, value in result.items()}
    return columns, cells
