"""Groups of finished runs that differ in the seed alone, and cells of a table of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Any

from vitrun.runs.cost import Cost
from vitrun.runs.results import FinishedRun


@dataclass(frozen=True)
class Average:
    """Metric of runs that differ in the seed alone."""

    by_seed: dict[Any, float]
    std: float | None  # over the seeds; of a single run the one that it measured, as over draws
    unit: str  # as Metric has it

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return mean(self.by_seed.values())


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in the seed alone."""

    runs: tuple[FinishedRun, ...]

    @property
    def first(self) -> FinishedRun:
        """Return the run that stands for all."""
        return self.runs[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the runs."""
        return tuple(run.name for run in self.runs)

    @cached_property
    def metrics(self) -> dict[str, Average]:
        """Return the mean of each metric over the runs that have it, with its deviation over the seeds."""
        names = dict.fromkeys(name for run in self.runs for name in run.metrics)
        return {name: average_seeds(name, [run for run in self.runs if name in run.metrics]) for name in names}

    @property
    def cost(self) -> Cost:
        """Return the mean cost of a run."""
        return self.first.cost if len(self.runs) == 1 else Cost.total(run.cost for run in self.runs) / len(self.runs)


def average_seeds(metric: str, runs: Sequence[FinishedRun]) -> Average:
    """Return the mean of a metric with its deviation over seeds; of a single run the deviation that it measured."""
    by_seed = {run.options.get("seed"): run.metrics[metric].mean for run in runs}
    first = runs[0].metrics[metric]
    return Average(by_seed, stdev(by_seed.values()) if len(by_seed) > 1 else first.std, first.unit)


def group_runs(runs: Iterable[FinishedRun], by_seed: bool = False) -> list[RunGroup]:
    """Return the runs in groups that differ in nothing but the seed; with ``by_seed`` in nothing at all."""
    groups: dict[tuple[Any, ...], list[FinishedRun]] = {}
    for run in runs:
        names = (name for name in run.computed if by_seed or name != "seed")
        key = (run.command, *sorted((name, str(run.computed[name])) for name in names))
        groups.setdefault(key, []).append(run)
    return [RunGroup(tuple(group)) for group in groups.values()]


def list_differences(options: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the options, but for the seed, that are not the same in all of these."""
    names = dict.fromkeys(name for run_options in options for name in run_options if name != "seed")
    return [name for name in names if len({str(run_options.get(name)) for run_options in options}) > 1]
