"""Checkpoints: written atomically with a manifest of hashes, and read only if every hash agrees."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import sha256_file, write_atomic, write_text_atomic

SCHEMA = 1
NEWER_SCHEMA = "from a newer vitrun"
KEEP_LAST = 2  # so that a damaged newest one leaves one to fall back to
MANIFEST_FILE = "MANIFEST.json"  # step, facts, and the size and hash of each file
MODEL_FILE = "model.safetensors"
EMA_FILE = "ema.safetensors"  # the Polyak average of the weights, if the run has one


def save(folder: Path, step: int, write: Callable[[Path], None], facts: dict[str, Any]) -> Path:
    """``folder/step-N``, holding what ``write`` put into it and a manifest of sizes and hashes; older ones thinned out.

    Raises OSError where the disk does not take it; what was there before then still stands.
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
    """Remove every checkpoint but ``last``, which is verified first: an OSError where it is not as it was written."""
    if (why := find_problem(last)) is not None:
        raise OSError(why)
    for old in list_checkpoints(folder):
        if old != last:
            shutil.rmtree(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, by step."""
    return sorted(folder.glob("step-*"))


def weights_file(checkpoint: Path) -> Path:
    """Return the file of the weights to use: the EMA if there is one."""
    ema = checkpoint / EMA_FILE
    return ema if ema.exists() else checkpoint / MODEL_FILE


def load_manifest(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest; raise OSError or ValueError if it cannot be read."""
    return json.loads((checkpoint / MANIFEST_FILE).read_text(encoding="utf-8"))


def find_problem(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None where every file has the recorded size and hash."""
    try:
        manifest = load_manifest(checkpoint)
        if manifest["schema"] > SCHEMA:
            return f"it has schema {manifest['schema']}, {NEWER_SCHEMA} than this one ({SCHEMA})"
        for name, entry in manifest["files"].items():
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


def find_newest(folder: Path, warn: Callable[[str], None], tidy: bool = True) -> Path | None:
    """The newest checkpoint that verifies; damaged ones are named, and put into ``quarantine`` by who is to ``tidy``.

    None where there never was one; a UserError where there are some and none is sound.
    """
    for partial in folder.glob(".tmp-step-*") if tidy else ():
        warn(f"Removed {partial.name}: its save was cut off.")
        shutil.rmtree(partial)
    bad = []
    for checkpoint in reversed(list_checkpoints(folder)):
        reason = find_problem(checkpoint)
        if reason is None:
            return checkpoint
        bad.append(f"{checkpoint.name}: {reason}")
        if NEWER_SCHEMA in reason:  # sound for the program that wrote it: it stays where it is
            raise UserError(f"{checkpoint}: {reason}. Go on with that version.", ExitCode.CHECKPOINT)
        if not tidy:
            continue
        warn(f"Rejected {checkpoint.name}: {reason}. Moved to quarantine.")
        (folder / "quarantine").mkdir(exist_ok=True)
        os.replace(checkpoint, folder / "quarantine" / f"{checkpoint.name}-{os.getpid()}")
    if bad or any((folder / "quarantine").glob("step-*")):
        listed = "; ".join(bad) or "all are in its quarantine"
        raise UserError(
            f"No checkpoint in {folder} is sound ({listed}). Delete the run's folder to start afresh.",
            ExitCode.CHECKPOINT,
        )
    return None
