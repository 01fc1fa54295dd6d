"""Record of the evaluations of a run, by which it chooses its best weights and ends early."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.runs.metrics import Metric, Result, from_plain, to_plain


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the weights of one step; the first of them is the one that evaluations are compared by."""

    step: int
    metrics: dict[str, Any]  # plain, as ``to_plain`` writes them

    @classmethod
    def of_result(cls, step: int, result: Result) -> "Evaluation":
        """Return the metrics of what an objective's ``evaluate`` returned, without counts and predictions.

        Raise UserError if there is none, or the first is not finite.
        """
        metrics = {name: value for name, value in result.items() if isinstance(value, Metric)}
        if not metrics:
            raise UserError("has nothing to evaluate by: the objective returns no Metric.", option="eval.every")
        evaluation = cls(step, to_plain(metrics))
        name, metric = evaluation.leading
        if not math.isfinite(metric.mean):
            raise UserError(f"The evaluation after step {step} gives {name} {metric.mean}.", ExitCode.NUMERICS)
        return evaluation

    @property
    def result(self) -> dict[str, Metric]:
        """Return the metrics by name."""
        return from_plain(self.metrics)

    @property
    def leading(self) -> tuple[str, Metric]:
        """Return the metric that evaluations are compared by, and its name."""
        return next(iter(self.result.items()))

    def is_better_than(self, other: "Evaluation") -> bool:
        """Return whether the leading metric is better; an equal one is not."""
        (_, one), (_, two) = self.leading, other.leading
        return one.mean < two.mean if one.lower_is_better else one.mean > two.mean

    def __str__(self) -> str:
        name, metric = self.leading
        return f"{name} {metric.percent()} %" if metric.unit == "share" else f"{name} {metric.mean:.4g}"


@dataclass(frozen=True)
class EvaluationRecord:
    """Evaluations up to a step; a checkpoint has them, so that a resumed run decides as an uninterrupted one."""

    last: Evaluation | None = None
    best: Evaluation | None = None  # of equal ones the first
    without_gain: int = 0  # evaluations since the best one

    def add(self, evaluation: Evaluation) -> "EvaluationRecord":
        """Return the record with an evaluation more."""
        if self.best is None or evaluation.is_better_than(self.best):
            return EvaluationRecord(evaluation, evaluation)
        return EvaluationRecord(evaluation, self.best, self.without_gain + 1)

    def describe_standstill(self) -> str:
        """Return how many evaluations were not better than the best one, as text."""
        step = self.best.step if self.best else 0
        return f"{self.without_gain} evaluations without a gain over {self.best} of step {step}"

    def to_counters(self) -> dict[str, Any]:
        """Return the record as JSON has it; empty if there was no evaluation."""
        return {} if self.last is None else {"evaluations": asdict(self)}

    @classmethod
    def from_counters(cls, counters: dict[str, Any]) -> "EvaluationRecord":
        """Return the record in the counters of a checkpoint; raise LookupError or TypeError if they have another."""
        if (record := counters.get("evaluations")) is None:
            return cls()
        return cls(Evaluation(**record["last"]), Evaluation(**record["best"]), int(record["without_gain"]))
