"""Checkpoints: written atomically with a manifest of hashes, and read only if every hash agrees."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError, shorten
from vitrun.runs.manifest import MANIFEST_FILE, SCHEMA, InvalidManifest, check_files, load_manifest, write_manifest
from vitrun.runtime.files import parse_json, read_small_text, remove, write_atomic, write_text_atomic

MAX_REASONS = 200  # characters of what is wrong with all checkpoints, before only that of the newest is stated
KEEP_LAST = 2  # so that a damaged newest one leaves one to fall back to
CHECKPOINT_NAME = re.compile(r"step-(\d{8,18})")
RUN_KEY = "run"  # of a manifest: the name of the run that saved the checkpoint
LATEST_FILE = "LATEST"  # the name of the newest, for people, and to notice that it is gone
QUARANTINE_FOLDER = "quarantine"
MODEL_FILE = "model.safetensors"
MOMENTS_FILE = "train_state.safetensors"  # state of the optimizer
EMA_FILE = "ema.safetensors"  # exponential moving average of the weights, if the run has one
BEST_FILE = "best.safetensors"  # weights of the best evaluation, the averaged ones if there are such, with keep=best
COUNTERS_FILE = "train_state.json"  # what training counts


def save(folder: Path, step: int, write: Callable[[Path], Mapping[str, str]], facts: dict[str, Any]) -> Path:
    """Save ``folder/step-N``: what ``write`` puts into a folder, and a manifest; delete all but the newest two.

    ``write`` returns the BLAKE3 hash of each file that it hashed while writing. Raise OSError if the checkpoint cannot
    be written; those before it are then intact.
    """
    checkpoint = folder / name_checkpoint(step)
    if checkpoint.exists() and find_problem(checkpoint) is None:
        return checkpoint

    def write_with_manifest(partial: Path) -> None:
        partial.mkdir(parents=True)
        write_manifest(partial, step, facts, write(partial))
        if checkpoint.is_dir():
            remove(checkpoint)  # a damaged one that could not be moved to quarantine; a user's file is not replaced

    write_atomic(checkpoint, write_with_manifest)
    write_text_atomic(folder / LATEST_FILE, checkpoint.name + "\n")
    for old in list_checkpoints(folder)[:-KEEP_LAST]:
        remove(old)
    return checkpoint


def name_checkpoint(step: int) -> str:
    """Return the name of the folder of a checkpoint."""
    return f"step-{step:08d}"


def read_step(checkpoint: Path) -> int:
    """Return the step in the name of a checkpoint's folder."""
    return int(checkpoint.name.removeprefix("step-"))


def read_latest_step(folder: Path) -> int:
    """Return the step that ``LATEST`` names; 0 if there is none that can be read."""
    try:
        match = CHECKPOINT_NAME.fullmatch(read_small_text(folder / LATEST_FILE).strip())
    except (OSError, ValueError):
        return 0
    return int(match[1]) if match else 0


def is_known(folder: Path, step: int) -> bool:
    """Return whether ``folder`` has a checkpoint of a step, or had one that was damaged."""
    name = name_checkpoint(step)
    return (folder / name).is_dir() or any((folder / QUARANTINE_FOLDER).glob(f"{name}-*"))


def keep_only(folder: Path, last: Path) -> None:
    """Delete every checkpoint but ``last``, which is verified first; raise OSError if it is damaged."""
    if (problem := find_problem(last)) is not None:
        raise OSError(problem)
    for old in list_checkpoints(folder):
        if old != last:
            remove(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, by step; a user's files and folders beside them are none."""
    matches = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in folder.glob("step-*") if path.is_dir())
    return [path for _, path in sorted((int(match[1]), path) for match, path in matches if match)]


def list_weights(checkpoint: Path) -> dict[str, Path]:
    """Return the files of weights by their name in ``init_weights``; the first is the one to use."""
    files = {"best": BEST_FILE, "ema": EMA_FILE, "plain": MODEL_FILE}
    return {name: checkpoint / file for name, file in files.items() if name == "plain" or (checkpoint / file).exists()}


def read_best_step(checkpoint: Path) -> int | None:
    """Return the step of the best evaluation of a run; None if that is not in its checkpoint."""
    try:
        counters = parse_json(read_small_text(checkpoint / COUNTERS_FILE))
        return int(counters["evaluations"]["best"]["step"])
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return None


def find_problem(checkpoint: Path, run: str = "") -> str | None:
    """Return what is wrong with a checkpoint; None if it is what was saved, and of the ``run`` if one is named."""
    try:
        manifest = load_manifest(checkpoint)
        if checkpoint.name != name_checkpoint(manifest["step"]):
            return shorten(f"it is of step {manifest['step']}, by its {MANIFEST_FILE}")
        if run and manifest.get(RUN_KEY, run) != run:
            return shorten(f"it is of another run, {manifest[RUN_KEY]}")
        check_files(checkpoint, manifest)
    except InvalidManifest as error:
        return shorten(str(error))
    except OSError as error:
        return f"it cannot be read ({error.strerror or type(error).__name__})"
    return None


def check_schema(checkpoint: Path) -> None:
    """Raise UserError if another version wrote the checkpoint, which is sound for that one and stays where it is."""
    try:
        schema = load_manifest(checkpoint)["schema"]
    except InvalidManifest:
        return  # it is damaged, as find_problem will report
    if schema != SCHEMA:
        which = "a later" if schema > SCHEMA else "an earlier"
        raise UserError(
            shorten(f"{checkpoint} is of {which} vitrun (schema {schema}, this one reads {SCHEMA}). Use that one."),
            ExitCode.CHECKPOINT,
        )


def find_newest(folder: Path, warn: Callable[[str], None], tidy: bool = True, run: str = "") -> Path | None:
    """Return the newest checkpoint that is sound, and of the ``run`` if one is named; None if there never was one.

    With ``tidy`` delete partial ones and move damaged ones to ``quarantine``, with a warning each. Raise UserError if
    there are checkpoints and none is sound or, where no run is named, if they are of several runs.
    """
    if not run:
        check_one_run(folder)
    for partial in folder.glob(".tmp-step-*") if tidy else ():
        warn(f"Removed {partial.name}, a checkpoint that was not completed.")
        remove(partial)
    problems = []
    for checkpoint in reversed(list_checkpoints(folder)):
        check_schema(checkpoint)
        problem = find_problem(checkpoint, run)
        if problem is None:
            return checkpoint
        problems.append(f"{checkpoint.name}: {problem}")
        if tidy:
            warn(f"Rejected {checkpoint.name}: {problem}. {move_to_quarantine(checkpoint)}")
    if problems or any((folder / QUARANTINE_FOLDER).glob("step-*")):
        reasons = "; ".join(problems) or f"all are in its {QUARANTINE_FOLDER}"
        if len(reasons) > MAX_REASONS:
            reasons = f"{problems[0]}; and {len(problems) - 1} more" if problems[1:] else problems[0]
        why = f"No checkpoint in {folder} is sound ({reasons}). Delete the folder of the run to start again."
        raise UserError(shorten(why), ExitCode.CHECKPOINT)
    return None


def check_one_run(folder: Path) -> None:
    """Raise UserError if the checkpoints in a folder were saved by several runs."""
    savers: dict[str, Path] = {}
    for checkpoint in list_checkpoints(folder):
        try:
            savers[str(load_manifest(checkpoint)[RUN_KEY])] = checkpoint
        except (InvalidManifest, KeyError):
            continue
    if len(savers) > 1:
        which = " and ".join(f"{checkpoint.name} of {run}" for run, checkpoint in savers.items())
        why = f"{folder} has checkpoints of several runs, {which}: move those of the others away."
        raise UserError(shorten(why), ExitCode.CHECKPOINT)


def move_to_quarantine(checkpoint: Path) -> str:
    """Move a damaged checkpoint out of the way of the sound ones, if the disk allows it; return what was done."""
    quarantine = checkpoint.parent / QUARANTINE_FOLDER
    try:
        quarantine.mkdir(exist_ok=True)
        os.replace(checkpoint, quarantine / f"{checkpoint.name}-{os.getpid()}")
    except OSError as error:  # a file of that name, or a folder without permission
        return f"It stays, as it cannot be moved to {QUARANTINE_FOLDER} ({error.strerror})."
    return f"Moved it to {QUARANTINE_FOLDER}."
