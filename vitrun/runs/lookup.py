"""What ``init`` names: a run, a file of weights, a tag, or fresh weights; found and checked before torch is loaded."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import yaml

from vitrun.errors import ExitCode, UserError, explain_unknown
from vitrun.papers import names
from vitrun.recipes import tables
from vitrun.runs import checkpoints
from vitrun.runtime import files
from vitrun.runtime.files import read_json

WEIGHTS_SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")
INIT_PREFIXES = ("random:", "timm:", "hf:")  # before the names of weights that are no file here


def resolve_init(init: str, runs: Path, command: str) -> str:
    """``init`` made unambiguous: a run's name, ``FILE#HASH``, ``random:MODEL``, ``timm:TAG`` or ``hf:ORG/NAME@COMMIT``.

    A folder as timm and transformers write it counts as the file of weights in it.
    """
    if init == "latest":
        return find_latest_run(runs, command)
    if init.startswith("random:"):
        tables.read_row("model", init.removeprefix("random:"))
        return init
    if init.startswith("timm:"):
        return init
    if init.startswith("hf:"):
        return pin_hub_commit(init)
    init = os.path.expanduser(init)
    path, _, given = init.partition("#")
    if path.endswith(WEIGHTS_SUFFIXES) or (Path(path) / "config.json").is_file():
        file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise UserError(f"init={init}: there is no file {file.absolute()}.", ExitCode.CHECKPOINT)
        code = files.sha256_file(file)[:12]
        if given and given != code:
            raise UserError(f"init={init}: the file's SHA-256 now begins with {code}.", ExitCode.CHECKPOINT)
        return f"{Path(path).absolute()}#{code}"
    if Path(path).is_file():
        raise UserError(
            f"init={init}: weights are in files that end in {', '.join(WEIGHTS_SUFFIXES)}.", ExitCode.CHECKPOINT
        )
    folder = runs / Path(init).name
    if not (folder / "recipe.yaml").exists():
        if (Path(init) / "recipe.yaml").is_file():
            overrides = f"runs={Path(init).parent} init={Path(init).name}"
            raise UserError(
                f"init={init} is a run of another folder than runs={runs}: give {overrides}", ExitCode.CHECKPOINT
            )
        known = [run.name for run in find_finished_runs(runs) if has_weights(run)]
        hint = explain_unknown("run", init, known) if known else f"There is no finished run in {runs.absolute()}."
        raise UserError(
            f"init={init} is no run, file, folder of weights, timm:TAG, hf:ORG/NAME or random:MODEL. {hint}",
            ExitCode.CHECKPOINT,
        )
    if load_result(folder) is None:
        raise UserError(
            f"init={init}: that run is not finished. The command that began it continues it.", ExitCode.CHECKPOINT
        )
    return folder.name


def pin_hub_commit(init: str) -> str:
    """``hf:ORG/NAME@COMMIT``: the commit named, or the newest, or without a network the one that is kept here."""
    from huggingface_hub import hf_hub_download

    repository, _, revision = init.removeprefix("hf:").partition("@")
    try:
        description = hf_hub_download(repository, "config.json", revision=revision or None)
    except Exception as error:  # the Hub's client, its cache and the network below it each fail in classes of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"init={init}: no config.json could be fetched from the Hub's {repository}: {reason} "
            "If it is gated, accept its terms and run `hf auth login`; else give a local copy: init=FOLDER.",
            ExitCode.CHECKPOINT,
        ) from None
    return f"hf:{repository}@{Path(description).parent.name}"


def find_latest_run(runs: Path, command: str) -> str:
    """The newest finished pretraining run; for ``eval`` and ``export`` fine-tuning runs count too."""
    commands = ("pretrain", "finetune") if command in ("eval", "export") else ("pretrain",)
    found = [run for run in find_finished_runs(runs) if run.name.split("-")[0] in commands and has_weights(run)]
    if not found:
        begun = [path.parent for command in commands for path in runs.glob(f"{command}-*/recipe.yaml")]
        open_ = sorted(run.name for run in begun if load_result(run) is None)
        way = f"The command that began {open_[0]} finishes it" if open_ else "Run `vitrun pretrain` first"
        raise UserError(
            f"init=latest: no finished {' or '.join(commands)} run in {runs.absolute()}. {way}, or give init=RUN, "
            "init=FILE.npz, init=timm:TAG, init=hf:ORG/NAME or init=random:MODEL.",
            ExitCode.CHECKPOINT,
        )
    return max(found, key=lambda run: load_result(run)["finished"]).name


def find_finished_runs(runs: Path) -> list[Path]:
    """The folders of finished runs."""
    return sorted(path.parent for path in runs.glob("*/result.json"))


def load_result(run: Path) -> dict[str, Any] | None:
    """What ``result.json`` says: the ``result``, and when the run ``finished``; None where it is not finished."""
    found = read_json(run / "result.json")
    if found is not None and not (isinstance(found.get("result"), dict) and isinstance(found.get("finished"), float)):
        raise UserError(
            f"{run / 'result.json'} is no result of vitrun: delete {run}, or move it out of {run.parent}.",
            ExitCode.CHECKPOINT,
        )
    return found


def has_weights(run: Path) -> bool:
    """Whether a finished run has weights, and is not one that a grid only chose by."""
    return (run / "checkpoints").is_dir() and (load_saved_recipe(run.name, run.parent) or {}).get("score") != "dev"


def model_name_of(init: str) -> str:
    """The model's name in a resolved ``init``."""
    if init.startswith(INIT_PREFIXES):
        return init.partition(":")[2].partition("@")[0]
    if "#" in init:
        return Path(init.partition("#")[0]).stem
    parts = init.split("-")
    return parts[1] if len(parts) > 3 else init  # who renames a run's folder names it


def pretraining_recipe(init: str, runs: Path) -> tuple[dict | None, str]:
    """The recipe of the pretraining run behind a resolved ``init``, and the ``init`` that names it.

    None, and what the first run began from, where that is no run here.
    """
    while (source := load_saved_recipe(init, runs)) is not None and "model" not in source:
        init = source["init"]
    return source, init


def model_row_name(init: str, runs: Path) -> str | None:
    """The row of the model table that the weights behind a resolved ``init`` are of; None where they are of none."""
    source, init = pretraining_recipe(init, runs)
    if source is not None:
        return source["model"]["name"]
    name = model_name_of(init)
    return name if name in tables.list_group_files("model") else names.match_model_row(name)


def find_architecture(init: str, runs: Path) -> Any:
    """The row of the network behind a resolved ``init``: that of its run, with what overrides changed, or of fresh weights.

    None for files and tags, which are known once they are opened.
    """
    source, init = pretraining_recipe(init, runs)
    if source is not None:
        return tables.check_model_row(source["model"], f"the model of {init}")
    return tables.load_model_row(model_name_of(init)) if init.startswith("random:") else None


def model_row_of(recipe: Any) -> str | None:
    """:func:`model_row_name` of a recipe's weights; None where it begins without any."""
    return model_row_name(recipe.init, recipe.runs) if getattr(recipe, "init", None) else None


def find_weights_file(init: str, runs: Path) -> Path | str:
    """The file or folder behind a resolved ``init`` (a run's averaged weights where it has any); tags as they are."""
    if init.startswith(INIT_PREFIXES):
        return init
    if "#" in init:
        return Path(init.partition("#")[0])
    checkpoint = checkpoints.find_newest(runs / init / "checkpoints", lambda _: None, tidy=False)
    if checkpoint is None:
        raise UserError(
            f"init={init}: that run has no weights. One by a grid or seeds has them in its final runs: its log names "
            "them.",
            ExitCode.CHECKPOINT,
        )
    averaged = checkpoint / "ema.safetensors"
    return averaged if averaged.exists() else checkpoint / "model.safetensors"


def weights_fingerprint(init: str, runs: Path) -> str:
    """What tells the weights behind a resolved ``init`` from all others: a hash of their file or row, or their name."""
    if init.startswith("random:"):
        row = tables.read_row("model", model_name_of(init))
        return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    if init.startswith(INIT_PREFIXES):
        return init
    if "#" in init:
        return init.partition("#")[2]
    file = find_weights_file(init, runs)
    return read_json(file.parent / "MANIFEST.json")["files"][file.name]["sha256"]


def load_saved_recipe(init: str, runs: Path) -> dict | None:
    """The recipe of the run that a resolved ``init`` names, as a plain tree; None for anything but a run."""
    path = runs / init / "recipe.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        if path.is_file() and not (isinstance(found, dict) and isinstance(found.get("data"), dict)):
            raise ValueError("it holds no recipe")
    except (ValueError, yaml.YAMLError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged ({why}): delete its folder and run again.", ExitCode.CHECKPOINT) from None
    return found
