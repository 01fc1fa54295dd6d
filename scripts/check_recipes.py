"""Compare the recipes that conf/ offers before and after a change: only what recipe_renames.py lists may differ.

    python scripts/check_recipes.py write FILE            # JSON lines, compressed where FILE ends in .gz; some minutes
    python scripts/check_recipes.py compare BEFORE AFTER

``write`` resolves every command with the choices of its config groups. The product of all would have a million
combinations, most of which no recipe combines. The script resolves these:

- each protocol, and none, with each data set and each model; with only some models of each family if the papers
  fine-tune on the data set and the command pretrains, or the other way round;
- each protocol with the tasks of VTAB and the sets for evaluation, for one model; the first task with each model;
- ``augment`` with each protocol, the ImageNets and two models: those for which recipes choose an augmentation;
- ``optim`` and ``objective`` with each protocol and the ImageNets; ``objective`` with each model too;
- ``fewshot``, ``eval``, ``visualize``, ``dedup`` and ``export`` with each data set and each model, one at a time.

Fine-tuning finds its model by ``init=random:MODEL``. The choices are the files in the folders of ``conf/``; recipe
files are not listed, since their values appear in the resolved recipes. No data, weights or GPU is needed.

A line is ``["COMMAND OVERRIDE ...", {option: value, ...}]``, or ``["...", {"error": STATUS}]`` where the command line
refuses the overrides. ``compare`` prints each distinct difference with the number of its combinations and the first of
them, and exits with 1 if there is any. A combination that one file lacks is a difference if the other composes it.
"""

import gc
import gzip
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from recipe_renames import ADDED, GONE, NEW, Line, drop_options, format_json, has_choice, rename_line

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"

MODEL, DATA = "vit_b16", "imagenet"  # for combinations with a single model or data set
FAMILIES = ["bit_r50x1", "r50_vit_b16", "swin_t", "vit_b16", "vit_h14"]  # some models of each family
AUGMENTED = ["vit_b16", "vit_s16"]  # models for which recipes choose an augmentation
FINETUNED = ["cifar10", "cifar100", "digits", "flowers102", "folder", "parquet", "pets", "vtab"]  # not pretrained on
CHUNK = 200  # combinations of one process: Hydra's trees are cached, and never freed
SHOWN = 3  # combinations of a difference


def resolve(command: str, overrides: list[str]) -> dict[str, Any]:
    """Return the recipe of a command as ``{dotted option: value}``, or ``{"error": exit status}``.

    The only function that knows the package.
    """
    from vitrun.config import resolve as config_resolve
    from vitrun.errors import UserError
    from vitrun.recipes import trees

    try:
        tree = trees.to_plain_tree(config_resolve.resolve_recipe(command, overrides, running=False))
    except UserError as error:
        return {"error": int(error.status)}
    return {option: trees.get_value(tree, option) for option in trees.iterate_keys(tree)}


def combinations() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each command with its overrides; some of them more than once."""
    for command in list_names("", nested=False):
        for axes in products(command):
            for values in product(*axes.values()):
                pairs = zip(axes, values, strict=True)
                yield command, tuple(sorted(f"{key}={value}" for key, value in pairs if value is not None))


def products(command: str) -> list[dict[str, list]]:
    """Return the products of a command: ``{option: the values to combine}``, where None leaves the option out."""
    data, weights = list_names("data"), [f"random:{model}" for model in list_names("model")]
    if command in ("pretrain", "finetune"):
        return training_products(command)
    if command in ("fewshot", "eval", "visualize"):
        return [{"init": weights, "data": [DATA]}, {"init": [f"random:{MODEL}"], "data": data}]
    if command == "dedup":
        return [{"data": data}, {"against": data}, {"data": [DATA], "against": data}, {"init": weights}]
    if command == "export":
        return [{"init": weights}]
    return [{}, {"name": data}] if command == "data" else [{}]


def training_products(command: str) -> list[dict[str, list]]:
    """Return the products of a command that trains."""
    data, pretrains = list_names("data"), command == "pretrain"
    tasks = [name for name in data if "/" in name]
    trained = [name for name in data if name not in tasks and not is_for_evaluation(name)]
    own = [name for name in trained if (name in FINETUNED) != pretrains or name == DATA]
    imagenets = [name for name in trained if name.startswith("imagenet")]

    def models(some: list[str]) -> dict[str, list]:
        return {"model": some} if pretrains else {"init": [f"random:{name}" for name in some]}

    protocol, every, one = {"protocol": [None, *list_protocols(command)]}, models(list_names("model")), models([MODEL])
    grids = [
        {**protocol, "data": own, **every},
        {**protocol, "data": [name for name in trained if name not in own], **models(FAMILIES)},
        {**protocol, "data": [name for name in data if name not in trained], **one},
        {**protocol, "data": tasks[:1], **every},
        {**protocol, "data": imagenets, "augment": list_names("augment"), **models(AUGMENTED)},
        {**protocol, "data": [*imagenets, *tasks[:1]], "optim": list_names("optim"), **one},
    ]
    objectives = {"objective": list_names("objective")}
    if not pretrains:
        return grids
    return [{}, *grids, {**protocol, "data": imagenets, **objectives, **one}, {**objectives, **every}]


def list_names(folder: str, nested: bool = True) -> list[str]:
    """Return the names of the files in a folder of ``conf/``, ``vtab/pets`` for nested ones, except those with _."""
    place = CONF / folder
    files = [file.relative_to(place).with_suffix("") for file in place.glob("**/*.yaml" if nested else "*.yaml")]
    return sorted(name.as_posix() for name in files if not any(part.startswith("_") for part in name.parts))


def list_protocols(command: str) -> list[str]:
    """Return the names of a command's protocols: those in its folder, or else those that list the command."""
    own = f"protocol/{command}"
    if (CONF / own).is_dir():
        return list_names(own, nested=False)
    files = {name: CONF / "protocol" / f"{name}.yaml" for name in list_names("protocol", nested=False)}
    return [name for name, file in files.items() if command in yaml.safe_load(file.read_text("utf-8"))["commands"]]


def is_for_evaluation(name: str) -> bool:
    """Whether the file of a data set says that it has no training images."""
    row = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    return row.get("train", "") is None


def write(file: Path) -> None:
    """Resolve all combinations in two processes and write them sorted, the same bytes for the same recipes."""
    began = time.monotonic()
    sys.path.insert(0, str(ROOT))  # the package of this checkout, beside its conf/
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # reads the same values in less time
    resolve("pretrain", [])  # import once what each process needs
    todo = list(dict.fromkeys(combinations()))
    chunks = [todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK)]
    with multiprocessing.get_context("fork").Pool(2, gc.disable, maxtasksperchild=1) as pool:
        lines = sorted(line for part in pool.imap_unordered(format_lines, chunks) for line in part)
    text = "".join(f"{line}\n" for line in lines).encode()
    file.write_bytes(gzip.compress(text, mtime=0) if file.suffix == ".gz" else text)
    count(str(file), read_lines(file))
    print(f"{time.monotonic() - began:.0f} seconds")


def format_lines(chunk: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Return the lines of some combinations."""
    return [
        json.dumps([" ".join([command, *overrides]), resolve(command, list(overrides))], sort_keys=True)
        for command, overrides in chunk
    ]


def read_lines(file: Path) -> list[Line]:
    """Return the lines of a file."""
    content = file.read_bytes()
    text = gzip.decompress(content) if file.suffix == ".gz" else content
    return [(key, recipe) for key, recipe in map(json.loads, text.splitlines())]


def count(name: str, lines: Iterable[Line]) -> None:
    """Print how many combinations of each command compose, and how many are refused."""
    counts = Counter((key.split()[0], "error" in recipe) for key, recipe in lines)
    print(f"{name}: {counts.total():,} combinations")
    for command in sorted({command for command, _ in counts}):
        print(f"  {command:12} {counts[command, False]:6,} compose {counts[command, True]:6,} refused")


def compare(before: list[Line], after: list[Line]) -> bool:
    """Print each distinct difference; return whether there is any."""
    earlier = [rename_line(*line) for line in before if not has_choice(line[0], GONE)]
    later = [(key, recipe) for key, recipe in after if not has_choice(key, NEW)]
    old = dict(earlier)
    new = {key: drop_added(key, recipe, old.get(key, {})) for key, recipe in later}
    keys_by_difference: dict[str, list[str]] = {}
    for key in sorted(old.keys() | new.keys()):
        for difference in differences(old.get(key), new.get(key)):
            keys_by_difference.setdefault(difference, []).append(key)
    if joined := [key for key, number in Counter(key for key, _ in earlier).items() if number > 1]:
        keys_by_difference["recipe_renames.py gives two combinations of BEFORE one name"] = joined
    for difference, keys in keys_by_difference.items():
        more = f"; and {len(keys) - SHOWN:,} more" * (len(keys) > SHOWN)
        print(f"{difference}\n    {len(keys):,} combinations: {'; '.join(keys[:SHOWN])}{more}")
    left_out = f"left out {len(before) - len(earlier):,} of BEFORE, {len(after) - len(later):,} of AFTER"
    print(f"{len(keys_by_difference):,} distinct differences; {left_out}")
    return bool(keys_by_difference)


def drop_added(key: str, recipe: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe of AFTER without the options of ADDED, but for those that BEFORE has too."""
    shared = {option: value for option, value in recipe.items() if option in old}
    return drop_options(ADDED, key, recipe) | shared


def differences(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Iterator[str]:
    """Yield a description of each difference of two recipes; None stands for a combination that a file lacks."""
    outcomes = describe_outcome(old), describe_outcome(new)
    if outcomes != ("composes", "composes"):
        if outcomes[0] != outcomes[1] and ("composes" in outcomes or None not in (old, new)):
            yield "BEFORE {}, AFTER {}".format(*outcomes)
        return
    for option in sorted(old.keys() | new.keys()):
        values = [format_json(recipe[option]) if option in recipe else "(absent)" for recipe in (old, new)]
        if values[0] != values[1]:
            yield f"{option}: {values[0]} -> {values[1]}"


def describe_outcome(recipe: dict[str, Any] | None) -> str:
    """Describe the outcome of a combination in a file."""
    if recipe is None:
        return "lacks it"
    return f"refuses it with {recipe['error']}" if "error" in recipe else "composes"


def main() -> None:
    """Write a file, or compare two and exit with 1 where they differ."""
    match sys.argv[1:]:
        case ["write", file]:
            write(Path(file))
        case ["compare", before, after]:
            lines = read_lines(Path(before)), read_lines(Path(after))
            for file, combinations in zip((before, after), lines, strict=True):
                count(file, combinations)
            sys.exit(compare(*lines))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
