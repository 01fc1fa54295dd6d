"""Turns ``key=value`` words into a recipe. The only module that knows Hydra."""

import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from itertools import product
from typing import Any

from vitrun import choices, rows
from vitrun.mistakes import Mistake, about, pick, unknown
from vitrun.recipe import DURATIONS, RECIPES

COMMAND_LINE = "command line"
TAGS = ("kind", "source", "task")  # say which kind of model, optimizer or data set a file of their group describes
# How Hydra names a group whose files lie elsewhere, or set any options; and one that recipe files choose from too,
# so that a word adds its choice behind theirs.
KEYS = {"against": "data@against", "protocol": "protocol/{verb}@_global_", "augment": "+augment"}
BROUGHT = {  # where no file or word is
    "data": "the run that init names",
    "view": "the run that init names, or all of the image",
    "against": "data, whose test part it is",
}
WORD = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)


def freeze(verb: str, tree: dict) -> Any:
    """The recipe that a plain tree of options describes; a Mistake for the first option that is unsound."""
    from pydantic import TypeAdapter, ValidationError

    for key in choices.leaves(tree):  # pydantic would take true for 1
        value = choices.reach(tree, key)
        if isinstance(value, bool) and bool not in choices.alternatives(choices.options(verb).get(key)):
            raise Mistake(f"{key}={choices.show_value(value)} cannot be: only options that are on or off take that")
    try:
        return TypeAdapter(RECIPES[verb]).validate_python(tree)
    except ValidationError as error:
        raise Mistake(explain(verb, error.errors()[0])) from None


def explain(verb: str, error: dict) -> str:
    """One sentence for what pydantic found."""
    if error["type"] == "value_error":
        return about(error["loc"][0] if error["loc"] else "data", error["msg"].removeprefix("Value error, "))
    where = place(verb, error["loc"])
    if error["type"] == "union_tag_invalid":
        tag = error["ctx"]["discriminator"].strip("'")
        return f"{where}.{tag}={error['ctx']['tag']} cannot be: it should be one of {error['ctx']['expected_tags']}"
    if error["type"] == "unexpected_keyword_argument":  # words are known to the choice that they are for: a file set it
        wanted = f"the protocol sets it, and this {error['loc'][0]} has no {where}: choose another of the two"
        return f"{where}={choices.show_value(error['input'])} cannot be: {wanted}"
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):
        number = len(error["input"])
        return (
            f"{where} needs more than {number} value{'s' * (number != 1)}: {where}={choices.show_value(error['input'])}"
        )
    if error["type"] == "missing":
        return f"{where} is required: add {where}=..."
    wanted = (
        "it should be a path" if error["type"] == "path_type" else error["msg"].replace("Input should", "it should")
    )
    return f"{where}={choices.show_value(error['input'])} cannot be: {wanted}"


def place(verb: str, location: Sequence) -> str:
    """The option at pydantic's place, which names members of unions and numbers of list entries too."""
    names: list[str] = []
    for part in map(str, location):
        dotted = ".".join([*names, part])
        if any(key == dotted or key.startswith(f"{dotted}.") for key in choices.options(verb)):
            names.append(part)
    return ".".join(names)


def compose(verb: str, words: Sequence[str]) -> dict:
    """The plain tree of options after files and words, every word known and given once."""
    from omegaconf import OmegaConf

    pairs = parse(verb, words)
    tree = OmegaConf.to_container(hydra_tree(verb, pairs), resolve=True)
    for name in DURATIONS:  # a duration on the command line replaces the one in the files, whatever its unit
        if name in tree and any(key in DURATIONS for key in pairs) and name not in pairs:
            tree[name] = None
    return tree


def parse(verb: str, words: Sequence[str]) -> dict[str, str]:
    """``{key: value}`` of words that are well formed, known to the verb, no sweeps, and given once."""
    pairs = {}
    words = rows.spelt(words) if verb == "data" else words
    for word in words:
        key, value = split(verb, word, words)
        if key in pairs:
            raise Mistake(f"{key} is given twice, as {pairs[key]} and as {value}: keep one.")
        pairs[key] = value
    groups = choices.groups(verb)
    for key, value in pairs.items():
        if "${" in value:
            raise Mistake(f"{key}={value} cannot be: write the value itself, not a reference to another.")
        if len(values(value)) > 1 and not choices.is_list(verb, key):
            raise Mistake(
                f"{key}={value} is a sweep over {len(values(value))} values: add -m to run every combination."
            )
        if key in groups:
            pick(groups[key], value, key)
    known = known_to(verb, tuple((key, value) for key, value in pairs.items() if key in groups))
    for key in pairs:
        if key not in known:
            raise Mistake(unknown("option", key, known))
        group, _, name = key.partition(".")
        if name in TAGS and pairs[key] != str(known[key]):
            raise Mistake(f"{key}={pairs[key]} cannot be: it comes with the choice of {group}=NAME, here {known[key]}.")
    return pairs


@cache
def known_to(verb: str, chosen: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The options that a verb has once the choices of its groups are made, with their values in the files."""
    tree = hydra_tree(verb, dict(chosen))
    return {**choices.groups(verb), **{key: choices.reach(tree, key) for key in choices.leaves(tree)}}


def split(verb: str, word: str, words: Sequence[str]) -> tuple[str, str]:
    """``key`` and ``value`` of a word; a Mistake that shows the right spelling where it is written otherwise."""
    match = WORD.fullmatch(word)
    if match and match[2]:
        return match[1], match[2]
    if word[:1] in "+~":
        raise Mistake(f"{word} cannot be: the set of options is closed. `vitrun {verb} --cfg` prints them all.")
    key, _, value = word.lstrip("-").partition("=")
    if not value:  # "--lr 0.1" and "lr = 0.1" come as several words
        value = next((w for w in words[list(words).index(word) + 1 :] if w != "="), "...").removeprefix("=")
    known = [*choices.options(verb), *choices.groups(verb)]
    right = next((k for k in (*known, *get_close_matches(key, known, 1)) if key in (k, k.split(".")[-1])), None)
    if right is None:
        raise Mistake(f"{word!r} is not KEY=VALUE. {unknown('option', key, known)}")
    raise Mistake(f"{word!r} is not KEY=VALUE: options have no dashes and no spaces. Write {right}={value}")


def values(text: str) -> list[str]:
    """The parts of ``text`` between commas that stand outside brackets and quotes."""
    if quoted(text):
        return [text]
    return re.findall(r"(?:\[[^\]]*\]|\([^)]*\)|[^,\[(])+", text)


def quoted(text: str) -> bool:
    """Whether a value stands in quotes."""
    return len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]


def expand(verb: str, words: Sequence[str]) -> list[list[str]]:
    """One list of words for each job of a sweep: ``seed=0,1`` becomes ``seed=0`` and ``seed=1``."""
    axes = []
    for word in words:
        key, value = split(verb, word, words)
        sweep = values(value)
        if choices.is_list(verb, key) and not value.startswith("["):
            sweep = [value]
        if repeated := [v for v in sweep if sweep.count(v) > 1]:
            raise Mistake(f"{word}: the list has {repeated[0]} twice: keep one.")
        if ",".join(sweep) != value:
            raise Mistake(f"{word}: the sweep has an empty value: take out the comma too many.")
        axes.append([f"{key}={v}" for v in sweep])
    return [list(job) for job in product(*axes)]


def by_data(words: Sequence[str]) -> list[list[str]]:
    """The words of ``vitrun fewshot`` for each data set: commas in ``data`` make a list there, and no sweep."""
    listed = next((word for word in words if word.startswith("data=") and len(values(word[5:])) > 1), None)
    if listed is None:
        return [list(words)]
    jobs = expand("fewshot", [listed])
    if path := next((word for word in words if word.startswith("data.path=")), None):
        raise Mistake(f"{path} cannot be with {listed}: the images of which? Give data sets with a path one at a time.")
    return [[job[0] if word is listed else word for word in words] for job in jobs]


def hydra_tree(verb: str, pairs: dict[str, str]) -> Any:
    """What Hydra composes from the verb's files and overrides."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        return composed(verb, tuple(overrides(verb, pairs)))
    except (HydraException, OmegaConfBaseException):
        words = " ".join(f"{key}={value}" for key, value in pairs.items())
        raise Mistake(f"{words} cannot be read: check its brackets, quotes and commas.") from None


@cache
def composed(verb: str, words: tuple[str, ...]) -> Any:
    """Hydra's answer, which takes it a tenth of a second."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(choices.CONF), version_base="1.3"):
        return hydra_compose(verb, list(words))


def overrides(verb: str, pairs: dict[str, str]) -> list[str]:
    """The pairs in Hydra's grammar: lists in brackets, free text quoted (a path may hold any character)."""
    words = []
    for key, value in pairs.items():
        if key in choices.groups(verb):
            key = KEYS.get(key, key).format(verb=verb)
        elif choices.is_list(verb, key) and not value.startswith("["):
            value = f"[{value}]"
        elif choices.is_text(verb, key) and value != "null" and not quoted(value):
            # Hydra reads a backslash as one, except before a quote, where it wants two.
            value = "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), value) + "'"
        words.append(f"{key}={value}")
    return words


def show(verb: str, words: Sequence[str], recipe: Any) -> str:
    """Every option as a pasteable word, with the file or word that set it; first the choices of groups."""
    own, tree = brought(verb, words), choices.plain(recipe)
    where = origins(verb, [word for word in words if word not in own])
    where |= {word.partition("=")[0]: COMMAND_LINE for word in own}
    chosen = {
        group: where[group] if group in where else (tree[group]["name"], BROUGHT[group])
        for group in choices.groups(verb)
        if tree[group] is not None
    }
    found = [(group, *choice) for group, choice in chosen.items()]
    found += [
        (key, choices.show_value(choices.reach(tree, key)), where.get(key) or BROUGHT[key.split(".")[0]])
        for key in choices.leaves(tree)
        if key not in choices.groups(verb)
    ]
    return "\n".join(f"{shlex.quote(f'{key}={value}').ljust(48)}  # {source}" for key, value, source in found)


def brought(verb: str, words: Sequence[str]) -> list[str]:
    """The words about the data that ``init`` brings: those of ``eval`` where no word names a data set."""
    if verb != "eval" or any(word.startswith("data=") for word in words):
        return []
    return [word for word in words if word.startswith("data.")]


def origins(verb: str, words: Sequence[str]) -> dict[str, Any]:
    """Where each option got its value: the last file, or the word, that set it; for a group its choice too."""
    pairs = parse(verb, words)
    found: dict[str, Any] = {}
    for path, package, parent in files(verb, pairs):
        tree = choices.read_file(path)
        prefix = f"{package}." if package else ""
        told = [key for key in choices.leaves(tree) if key[:5] != "view." or choices.reach(tree, key) is not None]
        found |= {f"{prefix}{key}": f"conf/{path}.yaml" for key in told}
        for group in choices.groups(verb):
            folder = choices.folder(verb, group)
            if path.startswith(f"{folder}/") and package.partition(".")[0] == ("" if group == "protocol" else group):
                choice = path.removeprefix(f"{folder}/")
                found[group] = (choice, COMMAND_LINE if group in pairs else f"conf/{parent}.yaml")
            elif group not in pairs and any(f"override /{group}" in item for item in tree.get("defaults", ())):
                found[group] = (found[group][0], f"conf/{path}.yaml")
    return found | {key: COMMAND_LINE for key in pairs if key not in choices.groups(verb)}


def files(verb: str, pairs: dict[str, str]) -> list[tuple[str, str, str]]:
    """The files that make a recipe, the later over the earlier: path in ``conf/``, part that it sets, who names it."""
    return listed(verb, tuple(overrides(verb, {key: pairs[key] for key in pairs if key in choices.groups(verb)})))


@cache
def listed(verb: str, words: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Hydra's list of files."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with initialize_config_dir(str(choices.CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        found = loader.compute_defaults_list(verb, list(words), RunMode.RUN).defaults
    return [(f.config_path, f.package, f.parent) for f in found if not f.config_path.startswith("hydra/")]
