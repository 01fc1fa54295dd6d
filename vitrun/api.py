"""vitrun in Python: a function for each command, and networks. ``import vitrun`` offers them; nothing slow is imported.

Nothing is printed unless ``quiet=False``: lines go to the logger ``vitrun``. Errors are raised as ``UserError``.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runtime import hub_bars
from vitrun.runtime.console import Screen
from vitrun.runtime.ranks import read_ranks

if TYPE_CHECKING:  # torch, and the tables of conf/
    from vitrun.models import LoadedModel, Network
    from vitrun.recipes import Model
    from vitrun.runs.metrics import Metric

LOGGER = logging.getLogger("vitrun")
Overrides = Sequence[str]


@dataclass(frozen=True)
class Result(Mapping[str, Any]):
    """The result of a run: a mapping of plain values, as in ``result["top1"]``, and the run that has it."""

    run: str  # its name
    folder: Path  # that of the run; a dry run has made none
    content: dict[str, Any]

    @property
    def metrics(self) -> "dict[str, Metric]":
        """The measured values, with standard deviation, 95 % interval and unit where there are any."""
        from vitrun.runs.metrics import Metric, from_plain

        return {name: value for name, value in from_plain(self.content).items() if isinstance(value, Metric)}

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.content if name != "metrics")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Result(run={self.run!r}, {', '.join(f'{name}={value!r}' for name, value in self.items())})"


class PythonScreen(Screen):
    """Output of a command called from Python: printed as on the command line, or if ``quiet`` logged."""

    def log(self, text: str) -> None:
        """Log a line at level INFO, or print it."""
        if self.quiet and self.enabled:
            LOGGER.info(text)
        super().log(text)

    def write_escaped(self, text: str) -> None:
        """Print a line, unless the command is quiet: what it says is returned."""
        if not self.quiet:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """Log a line at level WARNING, which Python shows on standard error if no handler is set."""
        for listener in self.listeners:
            listener(text)
        if self.enabled:
            LOGGER.warning(text)

    def end_process(self, status: int) -> None:
        """Leave the call at once, not the process."""
        raise KeyboardInterrupt


def pretrain(overrides: Overrides = (), *, quiet: bool = True, dry_run: bool = False, **options: Any) -> Result:
    """Train a model from scratch, as ``vitrun pretrain`` does.

    Args:
        overrides: Options as the command line and ``--cfg`` write them, such as ``"optim.lr=0.1"``.
        quiet: Whether to print nothing; False prints what the command line prints, with its progress.
        dry_run: Check everything and return what it would cost; write nothing.
        options: Options by name, dotted ones as ``optim__lr=0.1``, ``optim={"lr": 0.1}`` or ``**{"optim.lr": 0.1}``.

    Raises:
        UserError: An option, the data, the weights or the machine do not allow it.
        KeyboardInterrupt: Ctrl-C; a checkpoint is saved, from which the same call continues.
    """
    return run_command("pretrain", overrides, quiet, dry_run, options)


def finetune(overrides: Overrides = (), *, quiet: bool = True, dry_run: bool = False, **options: Any) -> Result:
    """Adapt pretrained weights to a data set, as ``vitrun finetune`` does. Arguments are as of :func:`pretrain`."""
    return run_command("finetune", overrides, quiet, dry_run, options)


def fewshot(overrides: Overrides = (), *, quiet: bool = True, dry_run: bool = False, **options: Any) -> Result:
    """Measure frozen features, as ``vitrun fewshot`` does, on one data set. Arguments are as of :func:`pretrain`."""
    return run_command("fewshot", overrides, quiet, dry_run, options)


def eval(overrides: Overrides = (), *, quiet: bool = True, dry_run: bool = False, **options: Any) -> Result:
    """Measure accuracy on a test set, as ``vitrun eval`` does. Arguments are as of :func:`pretrain`."""
    return run_command("eval", overrides, quiet, dry_run, options)


def predict(
    paths: "str | Path | Iterable[str | Path]", overrides: Overrides = (), *, quiet: bool = True, **options: Any
) -> list[dict[str, Any]]:
    """Return ``path``, ``classes`` and ``probabilities`` of each image, likeliest class first, as ``vitrun predict``.

    An image that cannot be read has an ``error`` in their place.

    Args:
        paths: Files, folders with all images below them, and globs.
    """
    from vitrun.commands import predict, runner

    names = [paths] if isinstance(paths, str | Path) else [*paths]
    given = [*overrides, *(f"{key}={value}" for key, value in flatten_options(options))]
    with hub_bars.hidden(quiet):
        recipe = runner.resolve_recipe("predict", given, bare={"paths": tuple(map(str, names))})
        return predict.predict_images(recipe, PythonScreen(quiet))


def dedup(overrides: Overrides = (), *, quiet: bool = True, dry_run: bool = False, **options: Any) -> Result:
    """Find test images in a training set, as ``vitrun dedup`` does. Arguments are as of :func:`pretrain`."""
    return run_command("dedup", overrides, quiet, dry_run, options)


def visualize(overrides: Overrides = (), *, quiet: bool = True, dry_run: bool = False, **options: Any) -> Result:
    """Draw attention, filters and positions, as ``vitrun visualize`` does. Arguments are as of :func:`pretrain`."""
    return run_command("visualize", overrides, quiet, dry_run, options)


def compare(overrides: Overrides = (), *, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """Return finished runs (``ours``), those left out, and published numbers (``published``), as ``vitrun compare``."""
    return execute("compare", overrides, options, quiet)[1]


def quickstart(overrides: Overrides = (), *, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """Run ``vitrun quickstart`` and return its table, as :func:`compare` does."""
    return execute("quickstart", overrides, options, quiet)[1]


def export(overrides: Overrides = (), *, quiet: bool = True, **options: Any) -> Path:
    """Write weights in the format of another library, as ``vitrun export`` does; return the file or folder."""
    return Path(execute("export", overrides, options, quiet)[1]["path"])


def report(overrides: Overrides = (), *, quiet: bool = True, **options: Any) -> Path:
    """Write a page about runs, as ``vitrun report`` does; return the file."""
    return Path(execute("report", overrides, options, quiet)[1]["path"])


def list_models(overrides: Overrides = (), *, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Return the rows of ``vitrun models``: name, kind, parameters, macs, tokens and published weights."""
    rows: list[dict[str, Any]] = execute("models", overrides, options, quiet)[1]["models"]
    return rows


def list_data(
    name: str | None = None, overrides: Overrides = (), *, quiet: bool = True, **options: Any
) -> list[dict[str, Any]]:
    """Return the rows of ``vitrun data``, or that of ``name``; with ``data={"path": ...}`` what is in that folder.

    ``show=16`` writes a page of images too, to ``save``; then the rows are the parts of the data set.
    """
    named = {} if name is None else {"name": name}
    rows, *_ = execute("data", overrides, named | options, quiet)[1].values()
    return list(rows)


def list_runs(overrides: Overrides = (), *, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Return the runs in a folder with their state, step, loss, speed and time left, as ``vitrun runs`` shows them."""
    for option in ("watch", "remove"):
        if options.get(option):
            raise UserError("is for the command line.", option=option, value=str(options[option]))
    statuses: list[dict[str, Any]] = execute("runs", overrides, options, quiet)[1]["runs"]
    return statuses


def doctor(overrides: Overrides = (), *, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """Return what ``vitrun doctor`` shows of the software and the machine, by section."""
    return execute("doctor", overrides, options, quiet)[1]


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
        classes: Put a new zero head of so many classes on; None leaves that of the weights.
        res: Resample the positions for images of this side; None leaves those of the weights.
        runs: The folder that runs are looked up in.
        seed: The seed of ``random:MODEL``.
        init_weights: Which of several weights in a file: ``auto`` (the averaged), ``ema``, ``plain``, or their name.
    """
    from vitrun.engine import weights
    from vitrun.runs import init_resolution

    folder = Path(init.folder.parent if isinstance(init, Result) else runs)
    with hub_bars.hidden(quiet=True):
        resolved = init_resolution.resolve_init(format_option("init", init), folder, "export")
        weights.check_init(resolved, res)
        loaded = weights.load_init(weights.Source(resolved, folder, init_weights), LOGGER.info, seed, classes, res)
    loaded.network.eval()
    return loaded


def run_command(command: str, overrides: Overrides, quiet: bool, dry_run: bool, options: dict[str, Any]) -> Result:
    """Return the result of a command that makes a run."""
    from vitrun.runs.run import run_name

    recipe, content = execute(command, overrides, options, quiet, dry_run)
    name = run_name(command, recipe)
    return Result(name, recipe.runs / name, content)


def execute(
    command: str, overrides: Overrides, options: Mapping[str, Any], quiet: bool, dry_run: bool = False
) -> tuple[Any, dict[str, Any]]:
    """Return the recipe of a command and its result; SIGTERM ends the program with exit code 143, as it always does."""
    if isinstance(overrides, Mapping):
        raise UserError("A dictionary of options is passed as keyword arguments, with two stars: **options.")
    if not isinstance(quiet, bool) or not isinstance(dry_run, bool):
        name, value = ("dry_run", dry_run) if isinstance(quiet, bool) else ("quiet", quiet)
        raise UserError("must be True or False.", option=name, value=str(value))
    pairs = dict(flatten_options(options))
    given = [overrides] if isinstance(overrides, str) else [*overrides]
    given += [f"{key}={value}" for key, value in pairs.items()]
    if (ranks := read_ranks(os.environ).size) > 1:
        raise UserError(
            f"A Python program calls vitrun in one process, not in {ranks}: start "
            f"`torchrun ... -m vitrun {command}` for several."
        )
    from vitrun.commands import runner

    check_lists(command, pairs)
    try:
        with hub_bars.hidden(quiet):
            recipe = runner.resolve_recipe(command, given)
            return recipe, runner.execute_recipe(command, given, recipe, PythonScreen(quiet), dry_run)
    except Interrupted as interrupt:
        if interrupt.status == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt("stopped; the same call continues from the checkpoint") from None
        raise SystemExit(int(interrupt.status)) from None


def check_lists(command: str, pairs: Mapping[str, str]) -> None:
    """Raise a UserError about a list that is given for an option which takes one value."""
    from vitrun.recipes import options

    for key, value in pairs.items():
        if value.startswith("[") and options.is_scalar(command, key):
            raise UserError(f"{key}={value}: takes one value; call the function once for each of them.", option=key)


def flatten_options(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of each option and its value as an override has it."""
    for name, value in options.items():
        key = f"{prefix}{name}".replace("__", ".")
        if isinstance(value, Mapping) and not isinstance(value, Result):
            yield from flatten_options(value, f"{key}.")
        else:
            yield key, format_option(key, value)


def format_option(key: str, value: Any) -> str:
    """Return a value as an override has it; raise UserError about one that no option takes."""
    from vitrun.recipes.trees import format_value

    if isinstance(value, Result):
        return str(value.folder)
    if hasattr(value, "tolist"):  # of numpy and torch
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return f"[{','.join(format_option(key, item) for item in value)}]"
    if value is None or isinstance(value, str | int | float | os.PathLike):
        return format_value(value)
    kind = type(value).__qualname__
    raise UserError(
        f"{key} takes text, numbers, True, False, None, paths and lists of these, not a {kind}.", option=key
    )
