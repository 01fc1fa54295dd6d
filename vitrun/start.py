"""From words to a recipe that can start: options composed, ``init`` resolved, data and device looked for."""

import os
import re
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

from vitrun import choices, config, exclude, init, origins, rows
from vitrun.mistakes import Exit, Mistake, about, pick
from vitrun.process import why_no_gpu
from vitrun.recipe import Data, Fewshot, Finetune, Pretrain, Suite, ViT, Vtab, on_the_net, origin

WHOLE = {"resize": "square", "crop": 1.0, "antialias": True}  # the view of weights that do not tell theirs
Point = tuple[float, float]  # of a grid: a learning rate and a weight decay
PLACES = (("path", "folder", Path.is_dir), ("root", "folder", Path.is_dir), ("real", "file", Path.is_file))


def load(verb: str, words: list[str], running: bool = True) -> Any:
    """The checked recipe of a verb, with ``init`` resolved and the data that it brings filled in.

    One that is not ``running``, but shown, may leave open where the images are.
    """
    own = origins.brought(verb, words)
    tree = config.compose(verb, [word for word in words if word not in own])
    runs = Path(tree.get("runs") or "")
    if "against" in choices.groups(verb) and tree.get("against") is None:
        tree["against"] = dict(tree["data"])
    seen = {option: value for option, value in tree.get("view", {}).items() if value is not None}
    if "view" in tree:
        tree["view"] = WHOLE | seen
    if tree.get("init") is not None:
        if tree.get("data") is not None or "data" not in choices.groups(verb):
            frozen(verb, tree, running)  # a wrong value is told before a file is hashed or the Hub asked
        tree["init"] = init.resolve(str(tree["init"]), runs, verb)
        source = init.recipe_of(tree["init"], runs)
        if "protocol" in choices.groups(verb):  # which may have a row for just these weights
            tree = config.compose(verb, words, init.model_row(tree["init"], runs)) | {"init": tree["init"]}
            seen = tree["view"]
        if "view" in tree:  # with eval, whose files leave it open, that of the run
            tree["view"] = WHOLE | (source or {}).get("view", {}) | seen
        if "data" in choices.groups(verb) and tree.get("data") is None:
            if source is None:
                raise Mistake(f"init={tree['init']} does not say which data to use: add data=NAME.")
            tree["data"] = source["data"]
            if own:
                changed = config.compose(verb, [*words, f"data={source['data']['name']}"])["data"]
                tree["data"] |= {key: changed[key] for key in (word[5:].partition("=")[0] for word in own)}
    if tree.get("dedup") is not None:
        tree["dedup"] = exclude.finished_dedup("dedup", str(tree["dedup"]), runs)
    if isinstance(tree.get("exclude"), list):
        tree["exclude"] = [exclude.resolve(str(word), runs) for word in tree["exclude"]]
    if verb == "data":
        tree["data"] = rows.place(words, tree)
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
    network = init.network(recipe.init, recipe.runs)
    return network.misfit(recipe.res) if isinstance(network, ViT) else None


def frozen(verb: str, tree: dict, running: bool) -> Any:
    """The recipe that a tree describes; a Mistake where one that is ``running`` does not say where its images are."""
    recipe = config.freeze(verb, tree)
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
    asked, known = recipe.fewshot, choices.group_files("data")
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
        tree = config.compose("fewshot", [f"data={name}", *[f"data.path={path}"] * (path is not None)])
        if path is None and is_row(name, recipe.data):
            tree["data"] = choices.plain(recipe.data)
        given = {key: value for key, value in choices.plain(asked).items() if key in ("shots", "seeds", "l2")}
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
    row = choices.read_row("data", name)
    return (row["name"], row["source"]) == (data.name, data.source)


def tasks(recipe: Finetune) -> dict[str, Finetune]:
    """The recipe of each task of a suite: that of the suite, with the task's own row of ``conf/data`` for its data."""
    tree, suite = choices.plain(recipe), recipe.data
    given = {
        key: value
        for key, value in tree["data"].items()
        if key not in ("source", "name", "tasks") and value is not None
    }
    own = {task: choices.read_row("data", f"{suite.name}/{task}") for task in suite.tasks}
    return {task: config.freeze("finetune", {**tree, "data": {**row, **given}}) for task, row in own.items()}


def points(recipe: Finetune) -> list[Point]:
    """The grid; empty where no learning rates are given."""
    return list(product(recipe.grid, recipe.decays or (recipe.optim.weight_decay,)))


def parts(recipe: Finetune) -> list[Finetune]:
    """The runs of a procedure: one at each point of the grid, then one for each seed, as if the first was chosen."""
    first, *_ = points(recipe) or [(recipe.optim.lr, recipe.optim.weight_decay)]
    finals = [final(recipe, first, seed) for seed in recipe.seeds or (recipe.seed,)]
    return [trial(recipe, point) for point in points(recipe)] + finals


def trial(recipe: Finetune, point: Point) -> Finetune:
    """A run of the grid: it trains without the held-out images and is scored on them."""
    own = {"train": "train800", "test": "val200"} if isinstance(recipe.data, Vtab) else {}
    return part(recipe, point, data=choices.plain(recipe.data) | own, score="dev")


def final(recipe: Finetune, point: Point, seed: int) -> Finetune:
    """A run that counts: on all training images where a grid has chosen the point, else on all but those held out."""
    return part(recipe, point, seed=seed, dev=0.0 if recipe.grid else recipe.dev)


def part(recipe: Finetune, point: Point, **options: Any) -> Finetune:
    """A single run of a procedure, at a point of the grid."""
    tree, (lr, decay) = choices.plain(recipe), point
    optim = tree["optim"] | {"lr": lr, "weight_decay": decay}
    return config.freeze("finetune", {**tree, "optim": optim, "grid": [], "decays": [], "seeds": [], **options})


def check_listed(only: list) -> None:
    """A Mistake where no model has one of the words ``only`` in its name."""
    if only and not any(str(word) in name for word in only for name in choices.group_files("model")):
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
