"""What ``exclude`` and ``dedup`` name: finished dedup runs, and files of keys."""

from collections.abc import Sequence
from pathlib import Path

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.runs.run_files import find_finished_runs, load_about, load_recipe
from vitrun.runtime import files

DUPLICATES_FILE = "duplicates.parquet"  # in a dedup run: the pairs
EXCLUDED_KEYS_FILE = "exclude.txt"  # in a dedup run: a key of a training image a line


def resolve_exclude(override: str, runs: Path) -> str:
    """A dedup run's name, or ``FILE#HASH``."""
    path, _, given = override.partition("#")
    if not Path(path).is_file():
        return find_dedup_run("exclude", override, runs)
    code = files.sha256_file(Path(path))[:12]
    if given and given != code:
        raise UserError(f"exclude={override}: the file's SHA-256 now begins with {code}.", ExitCode.DATA)
    return f"{Path(path).absolute()}#{code}"


def find_dedup_run(option: str, override: str, runs: Path) -> str:
    """The name of a finished dedup run; a UserError where there is none of that name."""
    known = [run.name for run in find_finished_runs(runs) if load_recipe(run)["command"] == "dedup"]
    name = Path(override).name
    if name in known:
        return name
    hint = suggest(name, known) if known else f"There is none in {runs.absolute()}: run `vitrun dedup`."
    what = "no finished dedup run, and no file of keys" if option == "exclude" else "no finished dedup run"
    raise UserError(f"{option}={override} is {what}. {hint}", ExitCode.DATA)


def load_excluded_keys(overrides: Sequence[str], runs: Path, fingerprint: str) -> set[str]:
    """The keys that all of them name; a UserError where a dedup run searched images of another ``fingerprint``."""
    found = set()
    for override in overrides:
        file = Path(override.rpartition("#")[0]) if "#" in override else runs / override / EXCLUDED_KEYS_FILE
        if "#" not in override and load_about(runs / override)["train_data"] != fingerprint:
            raise UserError(
                f"exclude={override}: that run searched other training images than these: give the data "
                "that was given to it.",
                ExitCode.DATA,
            )
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        found |= {line for line in text.split("\n") if line}
    return found


def load_duplicate_keys(run: str, runs: Path, identity: str) -> set[str]:
    """The keys of the test images that a dedup run found; a UserError where those it looked for are not these."""
    import pyarrow.parquet

    if load_about(runs / run)["test_identity"] != identity:
        raise UserError(
            f"dedup={run}: that run looked for other test images than these: run `vitrun dedup` against this set.",
            ExitCode.DATA,
        )
    return {*pyarrow.parquet.read_table(runs / run / DUPLICATES_FILE, columns=["test"])["test"].to_pylist()}
