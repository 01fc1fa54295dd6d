"""Images that ``exclude`` and ``dedup`` name, by a finished dedup run or a file of keys."""

import os
from collections.abc import Sequence
from pathlib import Path

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.runs.lookup import HASH_DIGITS, split_pinned_file
from vitrun.runs.run_files import find_finished_runs, load_about, load_recipe
from vitrun.runtime.files import hash_file

DUPLICATES_FILE = "duplicates.parquet"  # of a dedup run: the pairs
EXCLUDED_KEYS_FILE = "exclude.txt"  # of a dedup run: the keys of training images, one per line


def resolve_exclude(name: str, runs: Path) -> str:
    """Return the name of a dedup run, or ``FILE#HASH``; raise UserError if there is neither."""
    path, given = split_pinned_file(os.path.expanduser(name))
    if not path.is_file():
        return find_dedup_run("exclude", name, runs)
    digits = hash_file(path)[:HASH_DIGITS]
    if given and given != digits:
        raise UserError(
            f"the file has changed; its BLAKE3 hash now begins with {digits}.",
            ExitCode.DATA,
            option="exclude",
            value=name,
        )
    return f"{path.absolute()}#{digits}"


def find_dedup_run(option: str, path: str, runs: Path) -> str:
    """Return the name of a finished dedup run; raise UserError about ``option`` if there is none of that name."""
    known = [run.name for run in find_finished_runs(runs) if load_recipe(run)["command"] == "dedup"]
    name = Path(path).name
    if name in known:
        return name
    hint = suggest(name, known) if known else f"There is none in {runs.absolute()}: run `vitrun dedup` first."
    expected = "a finished dedup run or a file of keys" if option == "exclude" else "a finished dedup run"
    raise UserError(f"not {expected}. {hint}", ExitCode.DATA, option, path)


def load_excluded_keys(names: Sequence[str], runs: Path, fingerprint: str) -> set[str]:
    """Return the keys that dedup runs and files name.

    Raise UserError if a dedup run searched training images with another ``fingerprint``.
    """
    keys: set[str] = set()
    for name in names:
        is_file = "#" in name
        file = Path(name.rpartition("#")[0]) if is_file else runs / name / EXCLUDED_KEYS_FILE
        if not is_file and load_about(runs / name)["train_data"] != fingerprint:
            raise UserError(
                "this run searched other training images. Use the data= of that run.", ExitCode.DATA, "exclude", name
            )
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")  # an editor may add a byte-order mark
        keys |= {key for line in text.split("\n") if (key := line.removesuffix("\r"))}
    return keys


def load_duplicate_keys(run: str, runs: Path, identity: str) -> set[str]:
    """Return the keys of test images that a dedup run found; raise UserError if it looked for other test images."""
    import pyarrow.parquet

    if load_about(runs / run)["test_identity"] != identity:
        raise UserError(
            "this run looked for other test images. Run `vitrun dedup` against this data set.",
            ExitCode.DATA,
            "dedup",
            run,
        )
    with (runs / run / DUPLICATES_FILE).open("rb") as file:  # pyarrow takes a path with a colon for an address
        return {*pyarrow.parquet.read_table(file, columns=["test"])["test"].to_pylist()}
