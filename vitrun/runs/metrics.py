"""Result of a run: measured values with their spread and unit, and facts (counts, names, choices).

A command returns a dict whose values are a :class:`Metric` or a fact. ``result.json`` and ``--json`` have it as
:func:`to_plain` writes it: each metric's mean under its name, and all that is known of it under ``metrics``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from vitrun.errors import ExitCode, UserError

METRICS_KEY = "metrics"
# Of a detector, in the order of pycocotools: average precision over IoU 0.5 to 0.95, at 0.5, at 0.75, and of objects of
# up to 32 by 32 pixels, up to 96 by 96 and larger; average recall with 1, 10, 100 boxes per image, and of these sizes
DETECTION_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
Result = dict[str, Any]  # a Metric or a fact by name; a fact may have any type that JSON has


@dataclass(frozen=True)
class Metric:
    """Measured value; if it is a mean over seeds or draws, with their sample standard deviation.

    ``unit`` is ``"share"`` for what is shown in percent, as an accuracy; ``"seconds"``, ``"images/s"`` ...; or empty.
    """

    mean: float
    unit: str = ""
    std: float | None = None
    ci95: float | None = None  # half the width of the 95 % confidence interval of the mean
    lower_is_better: bool = False

    def percent(self) -> str:
        """Return ``85.30 ± 0.02`` of a share, in percent."""
        return f"{100 * self.mean:.2f}" + ("" if self.std is None else f" ± {100 * self.std:.2f}")


def to_plain(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as plain values, as JSON has them."""
    metrics = {name: value for name, value in result.items() if isinstance(value, Metric)}
    values = {name: value.mean if name in metrics else value for name, value in result.items()}
    details = {name: asdict(metric) for name, metric in metrics.items()}
    return values | ({METRICS_KEY: details} if details else {})


def check_finite(run: str, result: Mapping[str, Any]) -> None:
    """Raise UserError (exit code 5) if a number of the plain result of a run is not finite."""
    if (name := find_non_finite(result)) is not None:
        why = "is not finite, so there is no result. Try a smaller optim.lr, precision=fp32, or other weights."
        raise UserError(f"{name} of {run} {why}", ExitCode.NUMERICS)


def find_non_finite(value: Any, name: str = "") -> str | None:
    """Return the name of the first number of a plain result that is not finite; None if all are."""
    if isinstance(value, float):
        return None if isfinite(value) else name
    parts = value if isinstance(value, Mapping) else dict(enumerate(value)) if isinstance(value, list | tuple) else {}
    wrong = (find_non_finite(part, f"{name}.{key}".lstrip(".")) for key, part in parts.items())
    return next(filter(None, wrong), None)


def from_plain(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result that :func:`to_plain` wrote."""
    metrics = {name: Metric(**fields) for name, fields in result.get(METRICS_KEY, {}).items()}
    return {name: metrics.get(name, value) for name, value in result.items() if name != METRICS_KEY}


def read_metrics(result: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the metrics of a result that :func:`to_plain` wrote, and its numeric facts as metrics without a unit."""
    values = from_plain(result)
    numbers = {name: Metric(value) for name, value in values.items() if isinstance(value, int | float)}
    return numbers | {name: value for name, value in values.items() if isinstance(value, Metric)}
