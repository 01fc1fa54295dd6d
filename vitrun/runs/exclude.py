"""What ``exclude`` and ``dedup`` name: finished dedup runs, and files of keys."""

from collections.abc import Sequence
from pathlib import Path

from vitrun.errors import Exit, Mistake, unknown
from vitrun.runs.lookup import finished
from vitrun.runtime import files
from vitrun.runtime.files import read_json

TABLE = "duplicates.parquet"  # in a dedup run: the pairs
KEYS = "exclude.txt"  # in a dedup run: a key of a training image a line


def resolve(word: str, runs: Path) -> str:
    """A dedup run's name, or ``FILE#HASH``."""
    path, _, given = word.partition("#")
    if not Path(path).is_file():
        return finished_dedup("exclude", word, runs)
    code = files.digest(Path(path))[:12]
    if given and given != code:
        raise Mistake(f"exclude={word}: the file's SHA-256 now begins with {code}.", Exit.DATA)
    return f"{Path(path).absolute()}#{code}"


def finished_dedup(option: str, word: str, runs: Path) -> str:
    """The name of a finished dedup run; a Mistake where there is none of that name."""
    known = [run.name for run in finished(runs) if run.name.startswith("dedup-")]
    name = Path(word).name
    if name in known:
        return name
    hint = unknown("dedup run", name, known) if known else f"There is none in {runs.absolute()}: run `vitrun dedup`."
    what = "no finished dedup run, and no file of keys" if option == "exclude" else "no finished dedup run"
    raise Mistake(f"{option}={word} is {what}. {hint}", Exit.DATA)


def keys(words: Sequence[str], runs: Path, fingerprint: str) -> set[str]:
    """The keys that all of them name; a Mistake where a dedup run searched images of another ``fingerprint``."""
    found = set()
    for word in words:
        file = Path(word.rpartition("#")[0]) if "#" in word else runs / word / KEYS
        if "#" not in word and read_json(runs / word / "about.json")["train_data"] != fingerprint:
            raise Mistake(
                f"exclude={word}: that run searched other training images than these: give the data "
                "that was given to it.",
                Exit.DATA,
            )
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        found |= {line for line in text.split("\n") if line}
    return found


def duplicates(run: str, runs: Path, identity: str) -> set[str]:
    """The keys of the test images that a dedup run found; a Mistake where those it looked for are not these."""
    import pyarrow.parquet

    if read_json(runs / run / "about.json")["test_identity"] != identity:
        raise Mistake(
            f"dedup={run}: that run looked for other test images than these: run `vitrun dedup` against this set.",
            Exit.DATA,
        )
    return {*pyarrow.parquet.read_table(runs / run / TABLE, columns=["test"])["test"].to_pylist()}
