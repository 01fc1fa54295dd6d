"""Checkpoints: written atomically with a manifest of hashes, and read only if every hash agrees."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import sha256_file, write_atomic, write_text_atomic

SCHEMA = 1  # of the manifest; a later vitrun may write a higher one
KEEP_LAST = 2  # so that a damaged newest one leaves one to fall back to
MANIFEST_FILE = "MANIFEST.json"  # step, facts, and the size and hash of each file
QUARANTINE_FOLDER = "quarantine"
MODEL_FILE = "model.safetensors"
EMA_FILE = "ema.safetensors"  # exponential moving average of the weights, if the run has one


def save(folder: Path, step: int, write: Callable[[Path], None], facts: dict[str, Any]) -> Path:
    """Save ``folder/step-N``: what ``write`` puts into a folder, and a manifest; delete all but the newest two.

    Raise OSError if it cannot be written; the checkpoints before it are then intact.
    """
    checkpoint = folder / f"step-{step:08d}"
    if checkpoint.exists():
        return checkpoint

    def write_with_manifest(partial: Path) -> None:
        partial.mkdir(parents=True)
        write(partial)
        files = {f.name: {"sha256": sha256_file(f), "size": f.stat().st_size} for f in sorted(partial.iterdir())}
        manifest = {"schema": SCHEMA, "step": step, **facts, "files": files}
        (partial / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2), encoding="utf-8")

    write_atomic(checkpoint, write_with_manifest)
    write_text_atomic(folder / "LATEST", checkpoint.name + "\n")
    for old in list_checkpoints(folder)[:-KEEP_LAST]:
        shutil.rmtree(old)
    return checkpoint


def keep_only(folder: Path, last: Path) -> None:
    """Delete every checkpoint but ``last``, which is verified first; raise OSError if it is damaged."""
    if (problem := find_problem(last)) is not None:
        raise OSError(problem)
    for old in list_checkpoints(folder):
        if old != last:
            shutil.rmtree(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, by step."""
    return sorted(folder.glob("step-*"))


def weights_file(checkpoint: Path, plain: bool = False) -> Path:
    """Return the file of the weights to use: the EMA if there is one and ``plain`` is not set."""
    ema = checkpoint / EMA_FILE
    return ema if ema.exists() and not plain else checkpoint / MODEL_FILE


def load_manifest(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest; raise OSError or ValueError if it cannot be read."""
    return json.loads((checkpoint / MANIFEST_FILE).read_text(encoding="utf-8"))


def find_problem(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint; None if every file has its recorded size and hash."""
    try:
        for name, entry in load_manifest(checkpoint)["files"].items():
            file = checkpoint / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != entry["size"]:
                return f"{name} has {file.stat().st_size} bytes, not {entry['size']}"
            if sha256_file(file) != entry["sha256"]:
                return f"the content of {name} is not what was saved (SHA-256 differs)"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST_FILE} cannot be read ({error.__class__.__name__})"
    return None


def check_schema(checkpoint: Path) -> None:
    """Raise UserError if a later vitrun wrote the checkpoint, which is sound for that version and stays where it is."""
    try:
        schema = load_manifest(checkpoint)["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # it is damaged, as find_problem will report
    if isinstance(schema, int) and schema > SCHEMA:
        raise UserError(
            f"{checkpoint} is of a later vitrun (schema {schema}, this one reads {SCHEMA}). Continue with that one.",
            ExitCode.CHECKPOINT,
        )


def find_newest(folder: Path, warn: Callable[[str], None], tidy: bool = True) -> Path | None:
    """Return the newest checkpoint that is sound; None if there never was one.

    With ``tidy`` delete partial ones and move damaged ones to ``quarantine``, with a warning each. Raise UserError if
    there are checkpoints and none is sound.
    """
    for partial in folder.glob(".tmp-step-*") if tidy else ():
        warn(f"Removed {partial.name}, a checkpoint that was not completed.")
        shutil.rmtree(partial)
    quarantine = folder / QUARANTINE_FOLDER
    problems = []
    for checkpoint in reversed(list_checkpoints(folder)):
        check_schema(checkpoint)
        problem = find_problem(checkpoint)
        if problem is None:
            return checkpoint
        problems.append(f"{checkpoint.name}: {problem}")
        if tidy:
            warn(f"Rejected {checkpoint.name}: {problem}. Moved it to {QUARANTINE_FOLDER}.")
            quarantine.mkdir(exist_ok=True)
            os.replace(checkpoint, quarantine / f"{checkpoint.name}-{os.getpid()}")
    if problems or any(quarantine.glob("step-*")):
        reasons = "; ".join(problems) or f"all are in its {QUARANTINE_FOLDER}"
        raise UserError(
            f"No checkpoint in {folder} is sound ({reasons}). Delete the folder of the run to start again.",
            ExitCode.CHECKPOINT,
        )
    return None
