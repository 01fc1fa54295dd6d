"""Networks: untrained ones, and those of weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrun.api.calls import LOGGER
from vitrun.api.options import format_option
from vitrun.api.result import Result
from vitrun.errors import UserError
from vitrun.runtime import hub_bars

if TYPE_CHECKING:  # torch, and the tables of conf/
    from vitrun.models import LoadedModel, Network
    from vitrun.recipes import Model


def build(model: "str | Model", classes: int = 1000, res: int = 224, **options: Any) -> "Network":
    """Return an untrained network [B, 3, res, res] -> [B, classes] of images in [-1, 1], initialized as published.

    The weights are drawn from torch's global generator; those of ``network.head`` are 0.

    Args:
        model: A name of ``vitrun models``, or a row of :mod:`vitrun.recipes`.
        options: Options of that row to change, such as ``dropout=0.1``; ``build("timm", name=NAME)`` is timm's.
    """
    from vitrun import models, recipes
    from vitrun.recipes import tables, trees

    for name, value in (("classes", classes), ("res", res)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError("must be a positive integer.", option=name, value=str(value))
    tree = tables.read_row("model", model) if isinstance(model, str) else trees.to_plain_tree(model)
    row = tables.validate_row(recipes.Model, tree | options, f"model={tree['name']}")
    models.check_model(row, res)
    return models.build(row, classes, res)


def load(
    init: "str | Path | Result" = "latest",
    classes: int | None = None,
    res: int | None = None,
    runs: str | Path = "runs",
    seed: int = 0,
    init_weights: str = "auto",
) -> "LoadedModel":
    """Return the network of weights, in eval mode, with its resolution, class names and a report on every tensor.

    Args:
        init: What ``init=`` takes: ``latest``, a run, a file, a folder, ``timm:TAG``, ``hf:ORG/NAME``,
            ``torchvision:NAME``, ``random:MODEL``; or the :class:`Result` of a run.
        classes: Put a new zero head of that many classes on; None leaves that of the weights.
        res: Resample the positions for images of this side; None leaves those of the weights.
        runs: The folder that runs are looked up in.
        seed: The seed of ``random:MODEL``.
        init_weights: Which of several weights: ``auto`` (the best of a run that has them, else the averaged), ``best``,
            ``ema``, ``plain``, or their name in a file.
    """
    from vitrun.engine import weights
    from vitrun.runs import init_resolution

    folder = Path(init.folder.parent if isinstance(init, Result) else runs)
    with hub_bars.hidden(quiet=True):
        resolved = init_resolution.resolve_init(format_option("init", init), folder, "export")
        weights.check_init(resolved, res)
        loaded = weights.load_init(
            weights.WeightsSource(resolved, folder, init_weights), LOGGER.info, seed, classes, res
        )
    loaded.network.eval()
    return loaded
