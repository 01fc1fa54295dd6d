"""From words to a recipe that can start: options composed, ``init`` resolved, data and device looked for."""

import ctypes
import os
from pathlib import Path
from typing import Any

from vitrun import choices, config, exclude, init
from vitrun.mistakes import Exit, Mistake
from vitrun.recipe import Finetune, Suite, on_the_net

TABLES = {"data": ("data", "data set"), "models": ("model", "model")}  # the verbs that list the files of a group
WHOLE = {"resize": "square", "crop": 1.0, "antialias": True}  # the view of weights that do not tell theirs
PLACES = (("path", "folder", Path.is_dir), ("root", "folder", Path.is_dir), ("real", "file", Path.is_file))


def load(verb: str, words: list[str]) -> Any:
    """The checked recipe of a verb, with ``init`` resolved and the data that it brings filled in."""
    tree = config.compose(verb, words)
    runs = Path(tree.get("runs", ""))
    if "against" in choices.groups(verb) and tree.get("against") is None:
        tree["against"] = dict(tree["data"])
    seen = {option: value for option, value in tree.get("view", {}).items() if value is not None}
    if "view" in tree:
        tree["view"] = WHOLE | seen
    if tree.get("init") is not None:
        if tree.get("data") is not None or "data" not in choices.groups(verb):
            config.freeze(verb, tree)  # a wrong value is told before a file is hashed or the Hub asked
        tree["init"] = init.resolve(str(tree["init"]), runs, verb)
        source = init.recipe_of(tree["init"], runs)
        if "view" in tree:  # with eval, whose files leave it open, that of the run
            tree["view"] = WHOLE | (source or {}).get("view", {}) | seen
        if "data" in choices.groups(verb) and tree.get("data") is None:
            if source is None:
                raise Mistake(f"init={tree['init']} does not say which data to use: add data=NAME.")
            tree["data"] = source["data"]
    if tree.get("dedup") is not None:
        tree["dedup"] = exclude.finished_dedup("dedup", str(tree["dedup"]), runs)
    if isinstance(tree.get("exclude"), list):
        tree["exclude"] = [exclude.resolve(str(word), runs) for word in tree["exclude"]]
    for group in ("data", "against"):
        find_places(f"{group}.", tree.get(group) or {})
    if verb in TABLES:
        find_places("", tree)
        check_listed(verb, tree["only"])
    if tree.get("device") == "cuda" and (why := why_no_gpu()):
        raise Mistake(f"device=cuda: {why} Use device=cpu, or leave device out.", Exit.DEVICE)
    recipe = config.freeze(verb, tree)
    if verb == "finetune" and isinstance(recipe.data, Suite):
        tasks(recipe)  # a wrong one is told before the first starts
    return recipe


def tasks(recipe: Finetune) -> dict[str, Finetune]:
    """The recipe of each task of a suite: that of the suite, with the task's own row of ``conf/data`` for its data."""
    tree, suite = choices.plain(recipe), recipe.data
    given = {
        key: value
        for key, value in tree["data"].items()
        if key not in ("source", "name", "tasks") and value is not None
    }
    rows = {task: choices.read_row("data", f"{suite.name}/{task}") for task in suite.tasks}
    return {task: config.freeze("finetune", {**tree, "data": {**row, **given}}) for task, row in rows.items()}


def check_listed(verb: str, only: list) -> None:
    """A Mistake where no row of a table has one of the words ``only`` in its name."""
    group, what = TABLES[verb]
    if only and not any(str(word) in name for word in only for name in choices.group_files(group)):
        raise Mistake(f"No {what} has {' or '.join(map(str, only))} in its name. Leave out only= to see all.")


def find_places(prefix: str, data: dict) -> None:
    """Make the paths of a data set absolute; a Mistake where there is nothing."""
    for option, kind, there in PLACES:
        if given := data.get(option):
            data[option] = str(Path(given).absolute())
            kept = option == "path" and any(on_the_net(str(data.get(part))) for part in ("train", "test"))
            if not there(Path(given)) and not kept:  # a folder for downloads is made
                raise Mistake(f"{prefix}{option}={given}: there is no {kind} {data[option]}.", Exit.DATA)


def why_no_gpu() -> str | None:
    """The reason that no NVIDIA GPU can be used, as far as it can be known without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU."
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine."
    return None
