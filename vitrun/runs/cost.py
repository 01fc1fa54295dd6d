"""Cost of a finished run: steps, training images, exaFLOP and seconds, as far as they are known."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from vitrun.errors import UserError
from vitrun.recipes import Model, macs, tables
from vitrun.recipes.base import OptionError
from vitrun.recipes.detector_rows import make_detector_row
from vitrun.runs.lookup import find_first_tuning_on_boxes, model_row_name, trace_init

MACS_KEY = "image_macs"  # in about.json: multiply-adds of an image in one forward pass
MAX_MACS = 1e18


@dataclass(frozen=True)
class Cost:
    """Cost of training; None for what is not known: of few-shot and eval all."""

    steps: float | None = None
    images: float | None = None  # that passed through the network in training
    exaflop: float | None = None  # of training: forward and backward, as table 6 of the paper counts them
    seconds: float | None = None  # of training

    @classmethod
    def total(cls, costs: Iterable["Cost"]) -> "Cost":
        """Return the sum of costs; None for what one of them does not know."""
        known = list(costs)
        columns = {field.name: [getattr(cost, field.name) for cost in known] for field in fields(cls)}
        return cls(**{name: None if None in values else sum(values) for name, values in columns.items()})

    def __truediv__(self, number: int) -> "Cost":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Cost(**{name: None if value is None else value / number for name, value in values.items()})


def measure_cost(
    options: dict[str, Any], result: dict[str, Any], about: dict[str, Any], res: str | None, runs: Path
) -> Cost:
    """Return the cost of a run by its recipe and result.

    Args:
        options: The saved recipe.
        result: The plain result.
        about: Facts of the run, which may have the multiply-adds of an image.
        res: Side of the images, in pixels; None if it is not known.
        runs: The folder of all run folders.
    """
    steps, batch, seconds = result.get("steps"), count_step_images(options), result.get("seconds")
    if not isinstance(steps, int) or batch is None:
        return Cost()
    images = steps * batch
    products = about.get(MACS_KEY)
    if not isinstance(products, int) or not 0 < products < MAX_MACS:  # of a run before they were recorded
        products = count_run_macs(options, res, runs)
    exaflop = None if products is None else macs.count_exaflop(products, images)
    return Cost(steps, images, exaflop, seconds if isinstance(seconds, int | float) else None)


def count_step_images(options: dict[str, Any]) -> int | None:
    """Return the images of a step: those of ``batch``, and with a teacher the unlabelled ones; None without a batch."""
    batch, ratio = options.get("batch"), (options.get("pseudo") or {}).get("ratio") if options.get("teacher") else 0
    return batch * (1 + ratio) if isinstance(batch, int) and isinstance(ratio, int) else None


def count_run_macs(options: dict[str, Any], res: str | None, runs: Path) -> int | None:
    """Return the multiply-adds of an image in the network of a run; None if they are not known without opening it."""
    classes = options["data"].get("classes") or 0  # the head is a small part: without it where it is not known
    if res is None or not isinstance(classes, int):
        return None
    if options["command"] == "pretrain":
        return count_row_macs(Row(options["model"]), classes, int(res))
    chain = [options, *(recipe for _, recipe in trace_init(options["init"], runs))]
    pretrained = next((recipe for recipe in chain if recipe["command"] == "pretrain"), None)
    name = None if pretrained else model_row_name(options["init"], runs)
    row = pretrained["model"] if pretrained else tables.read_row("model", name) if name else None
    tuning = find_first_tuning_on_boxes(chain)
    detector = None if tuning is None else (tuning["detect"]["model"],)
    return None if row is None else count_row_macs(Row(row), classes, int(res), detector)


class Row(dict[str, Any]):
    """Row of the model table that can be the key of a cache."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(sorted(self.items(), key=str)))


@cache
def count_row_macs(row: Row, classes: int, res: int, detector: tuple[str | None] | None = None) -> int | None:
    """Return the multiply-adds of an image in the network of a model row; None of one that is not ViT or BiT.

    ``detector`` has the option ``detect.model`` with which a detector was made of that network; None if none was.
    """
    try:
        model = tables.validate_row(Model, dict(row), "the model of a run")
        if detector is not None:
            model = make_detector_row(model, *detector, res)
        return macs.count_macs(model, classes, res) if macs.is_countable(model) else None
    except (UserError, OptionError):
        return None
