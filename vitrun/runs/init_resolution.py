"""Resolve ``init``: from what a user types to weights that are the same at any time; nothing here loads torch."""

import os
from pathlib import Path

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.recipes import RECIPE_FILE, tables
from vitrun.runs.hub_commits import find_commit, pin_commit
from vitrun.runs.lookup import (
    HASH_DIGITS,
    WEIGHTS_SUFFIXES,
    has_weights,
    split_pinned_file,
    trace_init,
    weights_fingerprint,
)
from vitrun.runs.no_weights import check_weights
from vitrun.runs.run_files import (
    find_finished_runs,
    find_runs,
    finish_order,
    load_recipe,
    load_result,
)
from vitrun.runtime.files import is_utf8
from vitrun.runtime.hub_cache import verify_cached
from vitrun.runtime.weights_folder import PLAIN_FILES, hash_weights, is_weights_folder


def resolve_init(init: str, runs: Path, command: str, option: str = "init") -> str:
    """Return ``init`` made unambiguous, so that it names the same weights at any time; errors name ``option``.

    A run's name, ``FILE#HASH``, ``random:MODEL``, ``timm:TAG`` or ``hf:ORG/NAME@COMMIT``. A folder that timm or
    transformers wrote names the weights in it. Raise UserError if there are no such weights.
    """
    if init == "latest":
        return find_latest_run(runs, command, option)
    if init.startswith("random:"):
        tables.load_model_row(init.removeprefix("random:"))
        return init
    if init.startswith("timm:"):
        return init if "." in init else choose_default_tag(init)
    if init.startswith("torchvision:"):
        return init if "." in init else choose_default_weights(init)
    if init.startswith("hf:"):
        return add_hub_commit(init, runs, option)
    init = os.path.expanduser(init)
    if not is_utf8(init):
        why = "is not valid UTF-8, which the libraries that read weights need: rename it."
        raise UserError(why, ExitCode.CHECKPOINT, option, init)
    path, _ = split_pinned_file(init)
    try:
        is_weights = path.is_file() or is_weights_folder(path)
    except OSError as error:  # such as a folder without permission
        raise UserError(f"{option}={init}: cannot be read: {error.strerror}.", ExitCode.CHECKPOINT) from None
    if is_weights or path.name.lower().endswith(WEIGHTS_SUFFIXES):
        return pin_file(init, option)
    return find_run(init, runs, option)


def resolve_teacher(teacher: str, runs: Path, rounds: object) -> str:
    """Return ``teacher`` made unambiguous as :func:`resolve_init` does; ``latest`` may be a fine-tuned run.

    Raise a UserError if it is ``latest`` and there are several ``rounds``, each of which is the latest run at its end.
    """
    if teacher.startswith("random:"):
        why = "is untrained and has nothing to teach: give a run, or weights with a head."
        raise UserError(why, option="teacher", value=teacher)
    resolved = resolve_init(teacher, runs, "eval", "teacher")
    if teacher == "latest" and rounds != 1:
        why = f"is another run after each of rounds={rounds}, so that a stopped one would begin anew: name it,"
        raise UserError(f"{why} as in teacher={resolved}.", option="teacher", value=teacher)
    return resolved


def choose_default_tag(init: str) -> str:
    """Return ``timm:NAME.TAG`` of the weights that timm itself takes for ``timm:NAME``."""
    from vitrun.models.hub import find_default_tag

    return f"timm:{find_default_tag(init.removeprefix('timm:'))}"


def choose_default_weights(init: str) -> str:
    """Return ``torchvision:NAME.TAG`` of the first weights that torchvision published for ``torchvision:NAME``."""
    from vitrun.models.torchvision_weights import find_published_weights

    return f"torchvision:{find_published_weights(init.removeprefix('torchvision:')).name}"


def pin_file(init: str, option: str = "init") -> str:
    """Return ``PATH#HASH`` for a file or folder of weights; raise UserError if a given hash is not the file's."""
    path, given = split_pinned_file(init)
    if not path.exists():
        raise UserError(f"{option}={init}: no such file: {path.absolute()}.", ExitCode.CHECKPOINT)
    try:
        digits = hash_weights(path)[:HASH_DIGITS]
    except OSError as error:
        raise UserError(f"{option}={init}: cannot be read: {error.strerror}.", ExitCode.CHECKPOINT) from None
    if given and given != digits:
        raise UserError(
            f"{option}={init}: the file has changed; its BLAKE3 hash now begins with {digits}.", ExitCode.CHECKPOINT
        )
    return f"{path.absolute()}#{digits}"


def find_run(init: str, runs: Path, option: str = "init") -> str:
    """Return the name of a finished run in ``runs``, or ``PATH#HASH`` of one elsewhere, with the hash of its weights.

    Raise UserError if there is none, or it is not finished, or has no weights.
    """
    path, given = split_pinned_file(init)
    folder = runs / path.name
    is_name = path.name == init and (folder / RECIPE_FILE).exists()
    if not is_name and (path / RECIPE_FILE).is_file() and not (folder.is_dir() and path.samefile(folder)):
        folder = path.absolute()
    elif not (folder / RECIPE_FILE).exists():
        if path.is_dir():
            raise UserError(f"{option}={init}: {explain_folder(path)}", ExitCode.CHECKPOINT)
        known = [run.name for run in find_finished_runs(runs) if has_weights(run)]
        hint = suggest(init, known) if known else f"There is no finished run in {runs.absolute()}."
        raise UserError(
            f"{option}={init} is not a run, a file or folder of weights, timm:TAG{list_others(option)}. {hint}",
            ExitCode.CHECKPOINT,
        )
    if load_result(folder) is None:
        raise UserError(
            f"{option}={init}: this run is not finished. Run its command again to finish it.", ExitCode.CHECKPOINT
        )
    check_weights(folder, option, init)
    for _ in trace_init(folder.name, folder.parent):
        pass  # raises if one of these runs starts from itself
    if folder.parent == runs:
        return folder.name
    digits = weights_fingerprint(folder.name, folder.parent)[:HASH_DIGITS]
    if given not in ("", digits):
        why = f"{option}={init}: the weights of this run have changed; their BLAKE3 hash now begins with {digits}."
        raise UserError(why, ExitCode.CHECKPOINT)
    return f"{folder}#{digits}"


def list_others(option: str, prefix: str = "") -> str:
    """Return the other names that ``option`` takes, for the end of a list: a teacher is not untrained."""
    hub, random = f"{prefix}hf:ORG/NAME", f"{prefix}random:MODEL"
    return f", {hub} or {random}" if option == "init" else f" or {hub}"


def explain_folder(path: Path) -> str:
    """Return why a folder is not one of weights: what it should have, and the files in it that may be weights."""
    files = [file.name for file in sorted(path.iterdir()) if file.name.lower().endswith(WEIGHTS_SUFFIXES)]
    hint = f"Give one of its files: {', '.join(files[:3])}." if files else "Give a file of weights, or another folder."
    return f"this folder has neither {RECIPE_FILE} of a run nor config.json with {' or '.join(PLAIN_FILES)}. {hint}"


def add_hub_commit(init: str, runs: Path, option: str = "init") -> str:
    """Return ``hf:ORG/NAME@COMMIT`` with the given commit, the one that is pinned in ``runs``, or the newest.

    Without a network the newest is the cached one.
    """
    from huggingface_hub import hf_hub_download

    pinned = find_commit(init, runs)
    repository, _, revision = (pinned.init if pinned else init).removeprefix("hf:").partition("@")
    try:
        description = verify_cached(hf_hub_download(repository, "config.json", revision=revision or None))
    except Exception as error:  # the Hub's client, its cache and the network below it raise classes of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = f"{pinned}. " if pinned else ""
        raise UserError(
            f"{option}={init}: cannot download config.json of {repository} from the Hub: {reason} {hint}"
            f"If it is gated, accept its terms and run `hf auth login`; or use a local copy: {option}=FOLDER.",
            ExitCode.CHECKPOINT,
        ) from None
    return f"hf:{repository}@{description.parent.name}"


def pin_hub_name(name: str, resolved: str, runs: Path) -> bool:
    """Pin the commit of ``resolved`` for ``hf:ORG/NAME`` in ``runs``; return whether it is the pinned one now."""
    if not name.startswith("hf:"):
        return True
    pinned = pin_commit(name, resolved.partition("@")[2], runs)
    return pinned is None or pinned.init == resolved


def download_file(init: str, name: str) -> Path | None:
    """Return a file of a resolved ``hf:ORG/NAME@COMMIT``, downloaded if it is not cached; None if it has no such."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repository, _, revision = init.removeprefix("hf:").partition("@")
    cached = try_to_load_from_cache(repository, name, revision=revision or None)
    if cached is not None and not isinstance(cached, str):  # the cache knows that this commit has no such file
        return None
    try:
        return verify_cached(hf_hub_download(repository, name, revision=revision or None))
    except Exception:  # as above; that weights cannot be downloaded is reported when they are
        return None


def find_latest_run(runs: Path, command: str, option: str = "init") -> str:
    """Return the pretraining run that finished last; for some commands that may be a fine-tuning run."""
    commands = (
        ("pretrain", "finetune") if command in ("eval", "predict", "export", "visualize", "generate") else ("pretrain",)
    )
    last_first = sorted(find_finished_runs(runs), key=finish_order, reverse=True)
    for run in last_first:
        if load_recipe(run)["command"] in commands and has_weights(run):
            return run.name
    unfinished = [
        run.name for run in find_runs(runs) if load_result(run) is None and load_recipe(run)["command"] in commands
    ]
    hint = f"Run the command of {unfinished[0]} again to finish it" if unfinished else "Run `vitrun pretrain` first"
    raise UserError(
        f"{option}=latest: no finished {' or '.join(commands)} run in {runs.absolute()}. {hint}, or use {option}=RUN, "
        f"{option}=FILE, {option}=timm:TAG{list_others(option, f'{option}=')}.",
        ExitCode.CHECKPOINT,
    )
