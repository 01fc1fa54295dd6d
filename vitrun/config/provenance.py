"""Source of each option's value, and the options that differ from the recipe that the overrides name."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from vitrun.config import compose, protocols, recipe_file
from vitrun.config.expand import count_runs
from vitrun.recipes import (
    DEFAULT_RES,
    DURATIONS,
    Finetune,
    Model,
    Pretrain,
    Recipe,
    Training,
    composition,
    macs,
    tables,
    trees,
)
from vitrun.recipes.detector_rows import make_detector_row
from vitrun.runs import lookup
from vitrun.runs.naming import list_showing_options

COMMAND_LINE = "command line"
IMPLIED_SOURCES = {  # of options that neither a file nor an override sets
    "data": "the run that init names",
    "view": "the weights that init names, or all of the image",
    "res": "the weights that init names",
    "against": "data, whose test part it is",
}
NAMING_GROUPS = ("protocol", "model", "data")  # the choices that name a recipe; other overrides may differ from it
IGNORED_OPTIONS = ("seed", "init", "init_weights", "data.path", "data.root", "data.name")  # no recipe sets these


def format_config(command: str, overrides: Sequence[str], recipe: Recipe) -> str:
    """Return every option as a pasteable override, with the file or override that set it; choices of groups first."""
    own, tree = select_init_data_overrides(command, overrides), trees.to_plain_tree(recipe)
    others = [override for override in overrides if override not in own]
    sources = trace_sources(command, others, lookup.model_row_of(recipe))
    named = [group for group in tables.DATA_GROUPS if tree.get(group) and is_named_by_place(tree[group])]
    sources |= {
        f"{group}.name": f"named after {group}.path or hub"
        for group in named
        if sources.get(f"{group}.name") != COMMAND_LINE
    }
    sources |= {override.partition("=")[0]: COMMAND_LINE for override in own}
    groups = tables.list_groups(command)
    rows = [
        (
            group,
            *(
                sources[group]
                if isinstance(sources.get(group), tuple)
                else (tables.find_data_row(tree[group]), IMPLIED_SOURCES[group])
            ),
        )
        for group in groups
        if tree[group] is not None
    ]
    rows += [
        (key, trees.format_value(trees.get_value(tree, key)), sources.get(key) or IMPLIED_SOURCES[key.split(".")[0]])
        for key in trees.iterate_keys(tree)
        if key not in groups
    ]
    lines = [f"{shlex.quote(f'{key}={value}').ljust(48)}  # {source}" for key, value, source in rows]
    return "\n".join([*lines, *describe_cost(recipe)])


def is_named_by_place(data: Mapping[str, Any]) -> bool:
    """Return whether an own data set has another name than its row of ``conf/data``, by default that of its folder."""
    return data["name"] != tables.find_data_row(data)


def describe_cost(recipe: Recipe) -> list[str]:
    """Return the steps and exaFLOP of a run as a comment, if its number of images is known before they are opened.

    They are those of a ViT or BiT whose row and resolution are known; ``--dry-run`` counts those of any network.
    """
    if not isinstance(recipe, Training) or not (recipe.images or recipe.epochs is None):
        return []
    steps, _ = recipe.count_steps(recipe.images or 0)
    runs = count_runs(recipe) if isinstance(recipe, Finetune) else 1
    row, images, cost = find_model_row(recipe), runs * steps * recipe.step_images, ""
    if macs.is_countable(row) and recipe.res:
        classes = getattr(recipe.data, "classes", None) or 0
        cost = f", {macs.count_exaflop(macs.count_macs(row, classes, recipe.res), images):.2g} exaFLOP"
    return [f"# {f'{runs} runs of ' * (runs > 1)}{steps:,} steps of {recipe.step_images:,} images{cost}"]


def find_model_row(recipe: Training) -> Model | None:
    """Return the row of the network that is trained; None if it is only known once the weights are loaded."""
    if isinstance(recipe, Pretrain):
        return recipe.model
    model = lookup.find_architecture(recipe.init, recipe.runs) if isinstance(recipe, Finetune) and recipe.init else None
    if model is not None and isinstance(recipe, Finetune) and recipe.detects:
        return make_detector_row(model, recipe.detect.model, recipe.res or DEFAULT_RES)
    return model


def select_init_data_overrides(command: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides about the data that ``init`` brings: those of a test if no override names a data set."""
    if command not in ("eval", "visualize", "generate") or any(override.startswith("data=") for override in overrides):
        return []
    return [override for override in overrides if override.startswith("data.")]


def trace_sources(command: str, overrides: Sequence[str], weights: str | None) -> dict[str, Any]:
    """Return the last file, or the override, that set each option; of a group ``(choice, source)``."""
    pairs = compose.parse_overrides(command, overrides)
    layers = compose.choose_layers(command, pairs, weights)
    result = trace_files(command, compose.list_files(command, layers.choices))
    groups, file = tables.list_groups(command), recipe_file.find_recipe_file(overrides)
    for entry in layers.entries:
        for key, value in entry.pairs.items():
            source = f"{composition.format_config_path(entry.path)}, by_model"
            result[key] = (value, source) if key in groups else source
    if why := protocols.explain_fallback(command, pairs):
        result["protocol"] = (layers.choices["protocol"], f"conf/{command}.yaml: {why}")
    typed = {override.partition("=")[0] for override in overrides} if file else pairs.keys()
    for key, value in pairs.items():
        source = COMMAND_LINE if key in typed else str(file)
        result[key] = (value, source) if key in groups else source
    return result


def trace_files(command: str, files: Sequence[composition.ConfigFile]) -> dict[str, Any]:
    """Return the last file that set each option; of a group the choice, and the file that makes it."""
    result: dict[str, Any] = {}
    for path, package, parent in files:
        tree = composition.read_config_file(path)
        prefix = f"{package}." if package else ""
        metadata = protocols.METADATA_KEYS if is_recipe(path) else ()
        keys = [key for key in trees.iterate_keys(tree) if key.partition(".")[0] not in metadata]
        set_here = [
            key
            for key in keys
            if not (key == "res" or key.startswith("view.")) or trees.get_value(tree, key) is not None
        ]
        source = composition.format_config_path(path)
        result |= {f"{prefix}{key}": source for key in set_here}
        for group in tables.list_groups(command):
            folder = tables.group_folder(group)
            sets_group = package.partition(".")[0] == ("" if group == "protocol" else group)
            if path.startswith(f"{folder}/") and sets_group and not composition.is_fragment(path):
                result[group] = (path.removeprefix(f"{folder}/"), composition.format_config_path(parent))
            elif any(overrides_group(item, group) for item in tree.get("defaults", ())):
                result[group] = (result[group][0], source)
    return result


def overrides_group(item: Any, group: str) -> bool:
    """Return whether an item of a defaults list is ``override /GROUP: CHOICE``, with or without a package."""
    return isinstance(item, Mapping) and any(str(key).partition("@")[0] == f"override /{group}" for key in item)


def describe_deviations(command: str, overrides: Sequence[str], recipe: Recipe) -> list[str]:
    """Return the line that names the recipe of a command with protocols, and one for each override that differs.

    What the paper ran too, as the files of the recipe list it, is called a published variant.
    """
    if "protocol" not in tables.list_groups(command):
        return []
    pairs, weights = compose.parse_overrides(command, overrides), lookup.model_row_of(recipe)
    naming = {key: value for key, value in pairs.items() if key in NAMING_GROUPS}
    layers = compose.choose_layers(command, naming, weights)
    files = [file.path for file in compose.list_files(command, layers.choices) if is_recipe(file.path)]
    first = describe_recipe(command, files, layers, naming.get("model") or weights)
    if file := recipe_file.find_recipe_file(overrides):
        first = f"{first}, changed by {file}"
    if not sets_anything(files, layers):  # nothing to differ from
        return [f"recipe: {first}"]
    before, now = (collect_values(command, some, weights) for some in (naming, pairs))
    ignored = (*NAMING_GROUPS, *IGNORED_OPTIONS, *Training.execution_options)
    showing = list_showing_options(trees.to_plain_tree(recipe))
    differ = [key for key in pairs if key not in ignored and now[key] != before.get(key)]
    differ = [key for key in differ if key.split(".")[0] not in showing]
    differ = [key for key in differ if not (key.startswith("data.") and before.get(key, "") is None)]
    published = {key for some in list_variants(command, files, layers) if some.items() <= now.items() for key in some}
    marks = {key: "a published variant" if key in published else "differs from the recipe" for key in differ}
    lines = [
        f"{marks[key]}: {key}={trees.format_value(now[key])} (there {format_before(before, key)})" for key in differ
    ]
    return [f"recipe: {first}", *lines]


def describe_fallback(command: str, overrides: Sequence[str]) -> str:
    """Return text that names a protocol that no override chose, and why it is used; "" if an override chose it."""
    if "protocol" not in tables.list_groups(command):
        return ""
    pairs = compose.parse_overrides(command, overrides)
    why = protocols.explain_fallback(command, pairs)
    return f" by protocol={protocols.FALLBACK_PROTOCOLS[command]} ({why})" if why else ""


def is_recipe(path: str) -> bool:
    """Return whether a file is one of a protocol, and not a row or a command's."""
    return path.startswith(("recipe/", "protocol/"))


def describe_recipe(command: str, files: Sequence[str], layers: compose.Layers, model: str | None) -> str:
    """Return the file of a recipe with its header and its note on the model."""
    about = composition.read_header(files[-1]).rstrip(".")
    if not sets_anything(files, layers):
        return f"conf/{command}.yaml ({about})"
    more = protocols.describe_model(files, model)
    return f"{composition.format_config_path(files[-1])} ({about}{f'; {more}' if more else ''})"


def sets_anything(files: Sequence[str], layers: compose.Layers) -> bool:
    """Return whether a recipe sets an option beside the name of its protocol."""
    keys = {key for path in files for key in composition.read_config_file(path)}
    return bool(keys - {"protocol", *protocols.METADATA_KEYS} or layers.values)


def list_variants(command: str, files: Sequence[str], layers: compose.Layers) -> list[dict[str, Any]]:
    """Return what the paper ran too, as the files of a recipe list it: the values of options that belong together."""
    texts = [text for path in files for text in protocols.read_metadata(path).published]
    texts += [text for entry in layers.entries for text in entry.published]
    variants = []
    for text in texts:
        pairs = dict(override.split("=", 1) for override in text.split())
        variants.append(dict(map(composition.parse_override, compose.to_hydra_overrides(command, pairs))))
    return variants


def collect_values(command: str, pairs: dict[str, str], weights: str | None) -> dict[str, Any]:
    """Return the value of every option, and the choice of every group."""
    tree = compose.compose_tree(command, pairs, weights)
    layers = compose.choose_layers(command, pairs, weights)
    sources = trace_files(command, compose.list_files(command, layers.choices))
    chosen = {group: sources.get(group) for group in tables.list_groups(command)}
    choices = {group: source[0] for group, source in chosen.items() if isinstance(source, tuple)}
    return {key: trees.get_value(tree, key) for key in trees.iterate_keys(tree)} | choices | layers.choices


def format_before(before: dict[str, Any], key: str) -> str:
    """Return the value that a recipe has for an overridden option; a duration in its own unit."""
    if key in DURATIONS:
        unit = next(unit for unit in DURATIONS if before[unit] is not None)
        return f"{unit}={trees.format_value(before[unit])}".removeprefix(f"{key}=")
    return trees.format_value(before[key]) if key in before else "none"
