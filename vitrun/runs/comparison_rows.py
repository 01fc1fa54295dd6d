"""Rows of tables that compare finished runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vitrun.runs.cost import Cost
from vitrun.runs.groups import Average, RunGroup
from vitrun.runs.published import PublishedMatch

LABELS = ("command", "model", "upstream", "res")  # facts of every row
Blocks = dict[tuple[str, str], list[tuple[RunGroup, tuple[str, ...]]]]
# data set and kind of metrics -> groups of runs, each with its metrics


@dataclass(frozen=True)
class Row:
    """Runs that differ in the seed alone, or that are the tasks of one suite."""

    runs: tuple[str, ...]  # their names
    labels: dict[str, str]  # by LABELS; of VTAB-1k also the number of "tasks"
    options: dict[str, str]  # every option in which rows of the table differ, as it is typed
    metrics: dict[str, Average]
    cost: Cost  # the mean of a run; of a suite the sum over its tasks
    published: dict[str, list[PublishedMatch]]  # by metric: the numbers of the same thing
    facts: dict[str, str | None]  # in the terms of papers


@dataclass(frozen=True)
class Table:
    """Runs on one data set that have the same metrics."""

    data: str  # the data set's name in papers, or its own
    metrics: tuple[str, ...]  # of the rows, the most important first
    options: tuple[str, ...]  # in which the rows differ, the most important first
    rows: tuple[Row, ...]  # the best first


def row_order(metrics: Sequence[str]) -> Any:
    """Return the key that sorts rows: the best first, by the first metric, then the next; without them last."""

    def key(row: Row) -> list[float]:
        signs = {name: 1 if "loss" in name else -1 for name in metrics}
        return [signs[name] * row.metrics[name].mean if name in row.metrics else float("inf") for name in metrics]

    return key
