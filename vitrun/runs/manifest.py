"""Manifest of a checkpoint: its step, facts, and the size and hash of each of its files, with a hash of itself."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrun.runtime.files import hash_file, parse_json, read_small_text

SCHEMA = 3  # a later vitrun may write a higher one
MANIFEST_FILE = "MANIFEST.json"
HASH_KEY = "sha256"  # of the manifest itself, without this key
FILE_HASH_KEY = "blake3"  # of a file
HASH = re.compile("[0-9a-f]{64}")
TYPES = {"schema": int, "step": int, "files": dict, HASH_KEY: str}  # of the keys that every manifest has


class InvalidManifest(ValueError):
    """Raised for a manifest that is not what was saved; the message says why."""


def write_manifest(checkpoint: Path, step: int, facts: dict[str, Any], hashes: Mapping[str, str]) -> None:
    """Write the manifest of a folder whose other files are complete; those without one of ``hashes`` are hashed."""
    files = {
        file.name: {FILE_HASH_KEY: hashes.get(file.name) or hash_file(file), "size": file.stat().st_size}
        for file in sorted(checkpoint.iterdir())
    }
    content = {"schema": SCHEMA, "step": step, **facts, "files": files}
    text = json.dumps(content | {HASH_KEY: hash_content(content)}, indent=2)
    (checkpoint / MANIFEST_FILE).write_text(text, encoding="utf-8")


def hash_content(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its own hash, in hex."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_manifest(checkpoint: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint; raise InvalidManifest if it cannot be read, was edited, or lacks a key."""
    try:
        manifest = parse_json(read_small_text(checkpoint / MANIFEST_FILE))
    except (OSError, ValueError) as error:
        raise InvalidManifest(f"{MANIFEST_FILE} cannot be read ({type(error).__name__})") from None
    if not isinstance(manifest, dict):
        raise InvalidManifest(f"{MANIFEST_FILE} cannot be read (it is not a JSON object)")
    for key, kind in TYPES.items():
        if type(manifest.get(key)) is not kind:
            raise InvalidManifest(f"{MANIFEST_FILE} has no valid {key!r}")
    content = {key: value for key, value in manifest.items() if key != HASH_KEY}
    if hash_content(content) != manifest[HASH_KEY]:
        raise InvalidManifest(f"the content of {MANIFEST_FILE} is not what was saved (SHA-256 differs)")
    return manifest


def check_files(checkpoint: Path, manifest: dict[str, Any]) -> None:
    """Raise InvalidManifest unless the folder has the files of its manifest and no others, with their sizes and hashes.

    Hidden files, as file managers and NFS leave them, do not count.
    """
    files = manifest["files"]
    if not files:
        raise InvalidManifest(f"{MANIFEST_FILE} names no files")
    for name, entry in files.items():
        check_file(checkpoint, name, entry)
    others = sorted(
        path.name
        for path in checkpoint.iterdir()
        if path.name not in files and path.name != MANIFEST_FILE and not path.name.startswith(".")
    )
    if others:
        raise InvalidManifest(f"{others[0]!r} is not in its {MANIFEST_FILE}: move it out")


def check_file(checkpoint: Path, name: str, entry: Any) -> None:
    """Raise InvalidManifest unless a file has the size and hash of its entry."""
    valid = isinstance(entry, dict) and isinstance(entry.get("size"), int)
    if not valid or not HASH.fullmatch(str(entry.get(FILE_HASH_KEY))) or Path(name).name != name:
        raise InvalidManifest(f"{MANIFEST_FILE} has no valid entry for {name!r}")
    file = checkpoint / name
    if not file.is_file():
        raise InvalidManifest(f"{name} is missing")
    if file.stat().st_size != entry["size"]:
        raise InvalidManifest(f"{name} has {file.stat().st_size} bytes, not {entry['size']}")
    if hash_file(file) != entry[FILE_HASH_KEY]:
        raise InvalidManifest(f"the content of {name} is not what was saved (BLAKE3 hash differs)")
