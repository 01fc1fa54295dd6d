"""Weights that ``init`` names: a run, a file, a tag, or fresh weights; found and checked before torch is loaded."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.papers import names
from vitrun.recipes import RECIPE_FILE, Dedup, Eval, Export, Fewshot, Finetune, Model, Recipe, tables
from vitrun.runs import checkpoints
from vitrun.runs.manifest import load_manifest
from vitrun.runs.run_files import (
    CHECKPOINTS_FOLDER,
    find_finished_runs,
    find_runs,
    finish_time,
    load_recipe,
    load_result,
)
from vitrun.runtime.weights_folder import WEIGHTS_FILES, hash_weights, is_weights_folder

WEIGHTS_SUFFIXES = (
    ".npz",
    ".safetensors",
    ".pth.tar",
    ".pth",
    ".pt",
    ".bin",
    ".ckpt",
)  # of files; any other is read too
INIT_PREFIXES = ("random:", "timm:", "hf:", "torchvision:")  # of names of weights that are not a file here
PINNED_FILE = re.compile(r"(.*)#([0-9a-f]{12})")  # a resolved ``init``: a path, and the first digits of its hash
HASH_DIGITS = 12  # hex digits of a file's SHA-256 in a resolved ``init``


def resolve_init(init: str, runs: Path, command: str) -> str:
    """Return ``init`` made unambiguous, so that it names the same weights at any time.

    A run's name, ``FILE#HASH``, ``random:MODEL``, ``timm:TAG`` or ``hf:ORG/NAME@COMMIT``. A folder that timm or
    transformers wrote names the weights in it. Raise UserError if there are no such weights.
    """
    if init == "latest":
        return find_latest_run(runs, command)
    if init.startswith("random:"):
        tables.load_model_row(init.removeprefix("random:"))
        return init
    if init.startswith("timm:"):
        return init if "." in init else choose_default_tag(init)
    if init.startswith("torchvision:"):
        return init if "." in init else choose_default_weights(init)
    if init.startswith("hf:"):
        return pin_hub_commit(init)
    init = os.path.expanduser(init)
    path, _ = split_pinned_file(init)
    try:
        is_weights = path.is_file() or is_weights_folder(path)
    except OSError as error:  # such as a folder without permission
        raise UserError(f"init={init}: cannot be read: {error.strerror}.", ExitCode.CHECKPOINT) from None
    if is_weights or path.name.lower().endswith(WEIGHTS_SUFFIXES):
        return pin_file(init)
    return find_run(init, runs)


def choose_default_tag(init: str) -> str:
    """Return ``timm:NAME.TAG`` of the weights that timm itself takes for ``timm:NAME``."""
    from vitrun.models.hub import find_default_tag

    return f"timm:{find_default_tag(init.removeprefix('timm:'))}"


def choose_default_weights(init: str) -> str:
    """Return ``torchvision:NAME.TAG`` of the first weights that torchvision published for ``torchvision:NAME``."""
    from vitrun.models.torchvision_weights import find_published_weights

    return f"torchvision:{find_published_weights(init.removeprefix('torchvision:')).name}"


def split_pinned_file(init: str) -> tuple[Path, str]:
    """Return the path in ``PATH#HASH``, and the hash, which is empty if there is none. A path may have a # too."""
    pinned = PINNED_FILE.fullmatch(init)
    if pinned and not Path(init).exists():
        return Path(pinned[1]), pinned[2]
    return Path(init), ""


def pin_file(init: str) -> str:
    """Return ``PATH#HASH`` for a file or folder of weights; raise UserError if a given hash is not the file's."""
    path, given = split_pinned_file(init)
    if not path.exists():
        raise UserError(f"init={init}: no such file: {path.absolute()}.", ExitCode.CHECKPOINT)
    try:
        digits = hash_weights(path)[:HASH_DIGITS]
    except OSError as error:
        raise UserError(f"init={init}: cannot be read: {error.strerror}.", ExitCode.CHECKPOINT) from None
    if given and given != digits:
        raise UserError(
            f"init={init}: the file has changed; its SHA-256 now begins with {digits}.", ExitCode.CHECKPOINT
        )
    return f"{path.absolute()}#{digits}"


def find_run(init: str, runs: Path) -> str:
    """Return the name of a finished run in ``runs``; raise UserError if there is none, or it is not finished."""
    path, folder = Path(init), runs / Path(init).name
    if not (folder / RECIPE_FILE).exists():
        if (path / RECIPE_FILE).is_file():
            raise UserError(
                f"init={init} is not in runs={runs}. Use runs={path.parent} init={path.name}", ExitCode.CHECKPOINT
            )
        if path.is_dir():
            raise UserError(f"init={init}: {explain_folder(path)}", ExitCode.CHECKPOINT)
        known = [run.name for run in find_finished_runs(runs) if has_weights(run)]
        hint = suggest(init, known) if known else f"There is no finished run in {runs.absolute()}."
        raise UserError(
            f"init={init} is not a run, a file or folder of weights, timm:TAG, hf:ORG/NAME or random:MODEL. {hint}",
            ExitCode.CHECKPOINT,
        )
    if load_result(folder) is None:
        raise UserError(
            f"init={init}: this run is not finished. Run its command again to finish it.", ExitCode.CHECKPOINT
        )
    for _ in trace_init(folder.name, runs):
        pass  # raises if one of these runs starts from itself
    return folder.name


def explain_folder(path: Path) -> str:
    """Return why a folder is not one of weights: what it should have, and the files in it that may be weights."""
    files = [file.name for file in sorted(path.iterdir()) if file.name.lower().endswith(WEIGHTS_SUFFIXES)]
    hint = f"Give one of its files: {', '.join(files[:3])}." if files else "Give a file of weights, or another folder."
    return f"this folder has neither {RECIPE_FILE} of a run nor config.json with {' or '.join(WEIGHTS_FILES)}. {hint}"


def pin_hub_commit(init: str) -> str:
    """Return ``hf:ORG/NAME@COMMIT``: the given commit or the newest; without a network the cached one."""
    from huggingface_hub import hf_hub_download

    repository, _, revision = init.removeprefix("hf:").partition("@")
    try:
        description = hf_hub_download(repository, "config.json", revision=revision or None)
    except Exception as error:  # the Hub's client, its cache and the network below it raise classes of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"init={init}: cannot download config.json of {repository} from the Hub: {reason} "
            "If it is gated, accept its terms and run `hf auth login`; or use a local copy: init=FOLDER.",
            ExitCode.CHECKPOINT,
        ) from None
    return f"hf:{repository}@{Path(description).parent.name}"


def download_file(init: str, name: str) -> Path | None:
    """Return a file of a resolved ``hf:ORG/NAME@COMMIT``, downloaded if it is not cached; None if it has no such."""
    from huggingface_hub import hf_hub_download

    repository, _, revision = init.removeprefix("hf:").partition("@")
    try:
        return Path(hf_hub_download(repository, name, revision=revision or None))
    except Exception:  # as above; that weights cannot be downloaded is reported when they are
        return None


def find_latest_run(runs: Path, command: str) -> str:
    """Return the name of the newest finished pretraining run; for ``eval`` and ``export`` also of fine-tuning runs."""
    commands = ("pretrain", "finetune") if command in ("eval", "export") else ("pretrain",)
    newest_first = sorted(find_finished_runs(runs), key=finish_time, reverse=True)
    for run in newest_first:
        if load_recipe(run)["command"] in commands and has_weights(run):
            return run.name
    unfinished = [
        run.name for run in find_runs(runs) if load_result(run) is None and load_recipe(run)["command"] in commands
    ]
    hint = f"Run the command of {unfinished[0]} again to finish it" if unfinished else "Run `vitrun pretrain` first"
    raise UserError(
        f"init=latest: no finished {' or '.join(commands)} run in {runs.absolute()}. {hint}, or use init=RUN, "
        "init=FILE, init=timm:TAG, init=hf:ORG/NAME or init=random:MODEL.",
        ExitCode.CHECKPOINT,
    )


def has_weights(run: Path) -> bool:
    """Return whether a finished run has weights to begin from: not those of a trial of a grid."""
    return (run / CHECKPOINTS_FOLDER).is_dir() and load_recipe(run).get("score") != "dev"


def load_saved_recipe(init: str, runs: Path) -> dict[str, Any] | None:
    """Return the recipe of the run that a resolved ``init`` names; None if it names no run."""
    folder = runs / init
    with suppress(OSError, ValueError):  # a name of 300 letters, or with a character that no path has
        if (folder / RECIPE_FILE).is_file():
            return load_recipe(folder)
    return None


def model_name_of(init: str, runs: Path) -> str:
    """Return the name of the model that a resolved ``init`` names."""
    if init.startswith(INIT_PREFIXES):
        return init.partition(":")[2].partition("@")[0]
    if pinned := PINNED_FILE.fullmatch(init):
        return strip_suffix(Path(pinned[1]).name)
    recipe = load_saved_recipe(init, runs)
    return recipe["model"]["name"] if recipe else init


def strip_suffix(name: str) -> str:
    """Return the name of a file of weights without its suffix; that of a folder as it is."""
    return next((name[: -len(end)] for end in WEIGHTS_SUFFIXES if name.lower().endswith(end)), name)


def pretraining_recipe(init: str, runs: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the recipe of the pretraining run at the beginning of a resolved ``init``, and that run's name.

    If the weights do not come from a pretraining run here: None, and the ``init`` of the first run.
    """
    for name, recipe in trace_init(init, runs):
        if recipe["command"] == "pretrain":
            return recipe, name
        init = recipe.get("init") or ""
    return None, init


def trace_init(init: str | None, runs: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and recipe of the run of a resolved ``init``, then of the run that it started from, and so on.

    Raise UserError if a run starts from itself, as no run that vitrun wrote does.
    """
    seen: list[str] = []
    while init and (recipe := load_saved_recipe(init, runs)) is not None:
        if init in seen:
            chain = " -> ".join([*seen[seen.index(init) :], init][-4:])
            raise UserError(
                f"the run {init} starts from itself ({chain}): {RECIPE_FILE} of one of them was edited. Move them out "
                f"of {runs}.",
                ExitCode.CHECKPOINT,
            )
        seen.append(init)
        yield init, recipe
        init = recipe.get("init")


def model_row_name(init: str, runs: Path) -> str | None:
    """Return the name of the row in ``conf/model`` of the weights of a resolved ``init``; None if there is none."""
    source, init = pretraining_recipe(init, runs)
    if source is not None:
        return source["model"]["name"]
    name = model_name_of(init, runs)
    return name if name in tables.list_group_files("model") else names.match_model_row(name)


def find_architecture(init: str, runs: Path) -> Model | None:
    """Return the model row of a resolved ``init``: of its pretraining run, with its overrides, or of fresh weights.

    None for files and tags, whose architecture is known once they are opened.
    """
    source, init = pretraining_recipe(init, runs)
    if source is not None:
        return tables.validate_row(Model, source["model"], f"the model of {init}")
    return tables.load_model_row(model_name_of(init, runs)) if init.startswith("random:") else None


def model_row_of(recipe: Recipe) -> str | None:
    """Return the name in ``conf/model`` of the weights of ``init``; None without ``init`` or such a file."""
    if isinstance(recipe, Finetune | Fewshot | Eval | Dedup | Export) and recipe.init:
        return model_row_name(recipe.init, recipe.runs)
    return None


def find_weights_file(init: str, runs: Path, init_weights: str = "auto") -> Path | str:
    """Return the file or folder of a resolved ``init``; tags as they are.

    Of a run with an EMA it is the EMA, or with ``init_weights=plain`` the weights themselves.
    """
    if init.startswith(INIT_PREFIXES):
        return init
    if pinned := PINNED_FILE.fullmatch(init):
        return Path(pinned[1])
    checkpoint = checkpoints.find_newest(runs / init / CHECKPOINTS_FOLDER, lambda _: None, tidy=False)
    if checkpoint is None:
        raise UserError(
            f"init={init}: this run has no weights. If it had a grid or seeds, its log names the final runs that do. "
            "Of fewshot those of probe=linear layers=last have them.",
            ExitCode.CHECKPOINT,
        )
    if init_weights in ("auto", "plain"):
        return checkpoints.weights_file(checkpoint, plain=init_weights == "plain")
    file = checkpoints.weights_file(checkpoint)
    if init_weights != "ema" or file.name != checkpoints.EMA_FILE:
        why = f"the run {init} has no such weights: leave it out, or set plain."
        raise UserError(why, ExitCode.CHECKPOINT, "init_weights", init_weights)
    return file


def weights_fingerprint(init: str, runs: Path) -> str:
    """Return what identifies the weights of a resolved ``init``: the hash of a file or model row, or a tag."""
    if init.startswith("random:"):
        row = tables.read_row("model", model_name_of(init, runs))
        return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    if init.startswith(INIT_PREFIXES):
        return init
    if pinned := PINNED_FILE.fullmatch(init):
        return pinned[2]
    file = Path(find_weights_file(init, runs))
    return str(load_manifest(file.parent)["files"][file.name]["sha256"])
