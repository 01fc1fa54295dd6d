"""Function for each command."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vitrun.api.calls import Overrides, PythonScreen, execute, run_command
from vitrun.api.options import flatten_options
from vitrun.api.result import Result
from vitrun.errors import UserError
from vitrun.runtime import hub_bars


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


def generate(overrides: Overrides = (), *, quiet: bool = True, dry_run: bool = False, **options: Any) -> Result:
    """Sample images from an ImageGPT, as ``vitrun generate`` does. Arguments are as of :func:`pretrain`."""
    return run_command("generate", overrides, quiet, dry_run, options)


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
