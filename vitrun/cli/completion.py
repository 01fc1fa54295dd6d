"""Completion in a shell: options, and their values: choices, booleans, runs, files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vitrun.config import data_args, recipe_file
from vitrun.recipes import options, tables
from vitrun.runs.run_files import find_finished_runs

TRAINED = ("latest", "timm:", "hf:", "torchvision:")
WEIGHTS_VALUES = {"init": (*TRAINED, "random:"), "teacher": TRAINED}
IMAGE_OPTIONS = ("images", "paths")  # lists of files, folders and patterns
RUNS_OF = {  # how their names begin
    "init": ("pretrain-", "finetune-"),
    "teacher": ("pretrain-", "finetune-", "fewshot-"),
    "exclude": ("dedup-",),
    "dedup": ("dedup-",),
}


def list_completions(command: str, typed: Sequence[str], incomplete: str = "") -> list[str]:
    """Return the possible overrides after those ``typed``: options, and the values of one.

    Bash splits ``model=vi`` into ``model``, ``=`` and ``vi`` (and drops a trailing ``=``); other shells do not.
    """
    before, last = ["", "", *typed][-2:]
    key, equals, value = incomplete.partition("=")
    if last == "=":
        return list(list_values(command, before, incomplete, typed))
    if equals:
        return [f"{key}={one}" for one in list_values(command, key, value, typed)]
    if command == "data" and not typed:
        return list(data_args.list_datasets())
    groups = tables.list_groups(command)
    if last in (*groups, *options.list_options(command), recipe_file.KEY) and before != "=":
        return list(list_values(command, last, incomplete, typed))
    chosen = [] if command == "data" else [f"{group}={name}" for group, names in groups.items() for name in names]
    return chosen + [f"{key}=" for key in (*options.list_options(command), recipe_file.KEY)]


def list_values(command: str, key: str, begun: str, typed: Sequence[str]) -> Iterator[str]:
    """Yield the possible values of an option that has ``begun``."""
    kinds = options.flatten_union(options.list_options(command).get(key))
    yield from tables.list_groups(command).get(key, ())
    yield from options.list_allowed_values(command, key)
    if bool in kinds:
        yield from ("true", "false")
    yield from WEIGHTS_VALUES.get(key, ())
    if key == "init":
        yield from (f"random:{name}" for name in tables.list_group_files("model") if begun.startswith("random:"))
    if key in RUNS_OF:
        runs = Path(find_value(typed, "runs") or "runs")
        yield from (run.name for run in find_finished_runs(runs) if run.name.startswith(RUNS_OF[key]))
    if key in (*RUNS_OF, *IMAGE_OPTIONS, recipe_file.KEY) or Path in kinds:
        yield from list_paths(begun)


def find_value(typed: Sequence[str], key: str) -> str | None:
    """Return the value of an option among the words before, whether the shell splits them at ``=`` or not."""
    for number, word in enumerate(typed):
        if word.startswith(f"{key}="):
            return word.partition("=")[2]
        if word == key and list(typed[number + 1 : number + 2]) == ["="] and number + 2 < len(typed):
            return typed[number + 2]
    return None


def list_paths(begun: str) -> Iterator[str]:
    """Yield the files and folders whose paths begin like a text; a folder ends with a slash."""
    folder, slash, name = begun.rpartition("/")
    place = Path(folder + slash or ".").expanduser()
    try:
        entries = sorted(place.iterdir())
    except OSError:  # there is none, or it is closed
        return
    for entry in entries:
        if entry.name.startswith(name) and (name or not entry.name.startswith(".")):
            yield f"{folder}{slash}{entry.name}" + "/" * entry.is_dir()
