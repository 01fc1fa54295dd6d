"""From overrides to a recipe that can start: ``init`` resolved, data and device looked for."""

import os
import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vitrun.config import compose, data_args, provenance, validate
from vitrun.config.expand import parts, tasks
from vitrun.errors import Exit, Mistake, about, pick
from vitrun.recipes import Data, Fewshot, Pretrain, Suite, ViT, on_the_net, origin, tables, trees
from vitrun.runs import exclude, lookup
from vitrun.runtime.environment import why_no_gpu

WHOLE = {"resize": "square", "crop": 1.0, "antialias": True}  # the view of weights that do not tell theirs
PLACES = (("path", "folder", Path.is_dir), ("root", "folder", Path.is_dir), ("real", "file", Path.is_file))


def load(verb: str, words: list[str], running: bool = True) -> Any:
    """The checked recipe of a verb, with ``init`` resolved and the data that it brings filled in.

    One that is not ``running``, but shown, may leave open where the images are.
    """
    own = provenance.brought(verb, words)
    tree = compose.compose(verb, [word for word in words if word not in own])
    runs = Path(tree.get("runs") or "")
    if "against" in tables.groups(verb) and tree.get("against") is None:
        tree["against"] = dict(tree["data"])
    seen = {option: value for option, value in tree.get("view", {}).items() if value is not None}
    if "view" in tree:
        tree["view"] = WHOLE | seen
    if tree.get("init") is not None:
        if tree.get("data") is not None or "data" not in tables.groups(verb):
            frozen(verb, tree, running)  # a wrong value is told before a file is hashed or the Hub asked
        tree["init"] = lookup.resolve(str(tree["init"]), runs, verb)
        source = lookup.recipe_of(tree["init"], runs)
        if "protocol" in tables.groups(verb):  # which may have a row for just these weights
            tree = compose.compose(verb, words, lookup.model_row(tree["init"], runs)) | {"init": tree["init"]}
            seen = tree["view"]
        if "view" in tree:  # with eval, whose files leave it open, that of the run
            tree["view"] = WHOLE | (source or {}).get("view", {}) | seen
        if "data" in tables.groups(verb) and tree.get("data") is None:
            if source is None:
                raise Mistake(f"init={tree['init']} does not say which data to use: add data=NAME.")
            tree["data"] = source["data"]
            if own:
                changed = compose.compose(verb, [*words, f"data={source['data']['name']}"])["data"]
                tree["data"] |= {key: changed[key] for key in (word[5:].partition("=")[0] for word in own)}
    if tree.get("dedup") is not None:
        tree["dedup"] = exclude.finished_dedup("dedup", str(tree["dedup"]), runs)
    if isinstance(tree.get("exclude"), list):
        tree["exclude"] = [exclude.resolve(str(word), runs) for word in tree["exclude"]]
    if verb == "data":
        tree["data"] = data_args.place(words, tree)
    for group in ("data", "against"):
        find_places(f"{group}.", tree.get(group) or {})
    if verb == "models":
        check_listed(tree["only"])
    if tree.get("device") == "cuda" and (why := why_no_gpu()):
        raise Mistake(f"device=cuda: {why} Use device=cpu, or leave device out.", Exit.DEVICE)
    recipe = frozen(verb, tree, running)
    if verb == "finetune":
        for whole in tasks(recipe).values() if isinstance(recipe.data, Suite) else [recipe]:
            parts(whole)  # a wrong one is told before the first starts
    if tree.get("init") and tree.get("res") and (why := misfit(recipe)):
        raise Mistake(why)  # told here too, where torch is not needed
    if verb == "pretrain":
        probes(recipe, running)  # a wrong one is told before training starts
    return recipe


def misfit(recipe: Any) -> str | None:
    """Why the network behind ``recipe.init`` takes no images of ``recipe.res`` pixels, where its row is known."""
    network = lookup.network(recipe.init, recipe.runs)
    return network.misfit(recipe.res) if isinstance(network, ViT) else None


def frozen(verb: str, tree: dict, running: bool) -> Any:
    """The recipe that a tree describes; a Mistake where one that is ``running`` does not say where its images are."""
    recipe = validate.freeze(verb, tree)
    for group in ("data", "against") if running else ():
        needed = ("test",) if verb in ("eval", "data") or group == "against" else ("train", "test")
        source = getattr(recipe, group, None)
        if source is not None and (why := source.missing(needed)):
            raise Mistake(about(group, why))
    return recipe


def probes(recipe: Pretrain, running: bool = True) -> dict[str, Fewshot]:
    """The recipe of each probe on the way, by the name of its data: that of ``vitrun fewshot data=NAME``.

    Shots, seeds and l2 are the run's; where the data is what the run trains on, so are its options.
    """
    asked, known = recipe.fewshot, tables.group_files("data")
    if asked.every is None:
        return {}
    own = [name for name in known if is_row(name, recipe.data)][:1]
    if not (asked.data or own):
        raise Mistake(
            f"fewshot.every={asked.every} needs to know on what: {recipe.data.name} is none of the data sets."
        )
    found = {}
    for name, path in zip_longest(asked.data or own, asked.paths):
        pick(known, name, "fewshot.data")
        tree = compose.compose("fewshot", [f"data={name}", *[f"data.path={path}"] * (path is not None)])
        if path is None and is_row(name, recipe.data):
            tree["data"] = trees.plain(recipe.data)
        given = {key: value for key, value in trees.plain(asked).items() if key in ("shots", "seeds", "l2")}
        tree |= {"init": "", "batch": recipe.batch, **given}
        try:
            find_places("data.", tree["data"])
            found[name] = frozen("fewshot", tree, running)
        except Mistake as mistake:
            sentence = re.sub(r"\bdata(\.path)?=", lambda m: f"fewshot.{'paths' if m[1] else 'data'}=", str(mistake))
            raise Mistake(sentence, mistake.status) from None
    return found


def is_row(name: str, data: Data) -> bool:
    """Whether a data set is that of ``conf/data/<name>.yaml``, with whatever options."""
    row = tables.read_row("data", name)
    return (row["name"], row["source"]) == (data.name, data.source)


def check_listed(only: list) -> None:
    """A Mistake where no model has one of the words ``only`` in its name."""
    if only and not any(str(word) in name for word in only for name in tables.group_files("model")):
        raise Mistake(f"No model has {' or '.join(map(str, only))} in its name. Leave out only= to see all.")


def find_places(prefix: str, data: dict) -> None:
    """Make the paths of a data set absolute; a Mistake where there is nothing."""
    for option, kind, there in PLACES:
        if given := data.get(option):
            given = os.path.expanduser(given)
            data[option] = str(Path(given).absolute())
            kept = option == "path" and any(on_the_net(str(data.get(part))) for part in ("train", "test"))
            if not there(Path(given)) and not kept:  # a folder for downloads is made
                source = origin(data["name"], data.get("home"), data.get("hub")) if option == "path" else ""
                raise Mistake(f"{prefix}{option}={given}: there is no {kind} {data[option]}.{source}", Exit.DATA)
