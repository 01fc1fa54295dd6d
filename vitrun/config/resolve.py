"""Turn overrides into a recipe that is ready to run: resolve ``init``, check that data and device exist."""

import os
from pathlib import Path
from typing import Any

from vitrun import errors
from vitrun.config import compose, data_args, own_files, paths, provenance, validate
from vitrun.config.data_paths import name_own_set, path_options, resolve_paths
from vitrun.config.expand import expand_search, expand_suite
from vitrun.config.probe_recipes import resolve_probe_recipes
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import Detector, RunRecipe, Suite, ViT, tables, trees
from vitrun.runs import content, exclude, folder_content, init_resolution, lookup
from vitrun.runs.weights_view import WeightsView, find_weights_view
from vitrun.runtime import path_patterns
from vitrun.runtime.environment import why_no_gpu

DEFAULT_VIEW: dict[str, Any] = {  # of weights whose view is unknown
    "resize": "square",
    "crop": 1.0,
    "antialias": True,
    "interpolation": "bilinear",
    "fill": [128, 128, 128],
}
WEIGHTS_OPTIONS = ("init", "teacher")


def resolve_recipe(command: str, overrides: list[str], running: bool = True, pinning: bool = False) -> Any:
    """Return the checked recipe of a command, with ``init`` resolved and, if needed, the data set of that run.

    Args:
        running: Whether the recipe is to run; if it is only shown, the path of the images may be missing.
        pinning: Whether to pin the commit of weights on the Hub for all runs in the folder of runs.
    """
    folder_content.examine_real_path.cache_clear()  # files may have changed since the last recipe of this process
    try:
        with paths.refused_paths(overrides):
            recipe = resolve_tree(command, overrides, running)
            if pinning and not pin_names(command, overrides, recipe):
                recipe = resolve_tree(command, overrides, running)  # another run has pinned another commit meanwhile
        paths.check_paths(recipe)
        return recipe
    except UserError as error:
        raise own_files.name_own_file(command, overrides, error) from None


def resolve_tree(command: str, overrides: list[str], running: bool) -> Any:
    """Resolve the recipe; errors name options, but not the files that set them."""
    init_data = provenance.select_init_data_overrides(command, overrides)
    tree = compose.compose_config(command, [override for override in overrides if override not in init_data])
    if not isinstance(tree.get("runs", ""), str):
        raise UserError("must be a path.", option="runs", value=trees.format_value(tree["runs"]))
    groups, runs = tables.list_groups(command), Path(tree.get("runs", ""))
    running = running and tree.get("on") is None  # a run that is only planned needs no images
    if "against" in groups and tree.get("against") is None:
        tree["against"] = dict(tree["data"])
    if tree.get("init") is not None:
        tree = resolve_init(command, overrides, init_data, tree, running)
    elif "view" in tree:
        tree["view"] = fill_view(tree, {})
    if tree.get("teacher") is not None:
        tree["teacher"] = init_resolution.resolve_teacher(str(tree["teacher"]), runs, tree["rounds"])
    if tree.get("dedup") is not None:
        tree["dedup"] = exclude.find_dedup_run("dedup", str(tree["dedup"]), runs)
    if isinstance(tree.get("exclude"), list):
        tree["exclude"] = [exclude.resolve_exclude(str(value), runs) for value in tree["exclude"]]
    if isinstance(tree.get("images"), list):
        tree["images"] = [path_patterns.resolve_pattern("images", str(value)) for value in tree["images"]]
    if isinstance(prompts := tree.get("prompts"), str) and os.path.isfile(os.path.expanduser(prompts)):
        tree["prompts"] = os.path.abspath(os.path.expanduser(prompts))
    if command == "data":
        tree["data"] = data_args.select_dataset(overrides, tree)
    for group in tables.DATA_GROUPS:
        resolve_paths(f"{group}.", tree.get(group) or {})
        if command != "data":
            name_own_set(tree.get(group) or {})
    if command == "models":
        check_model_filter(tree["only"])
    if tree.get("device") == "cuda" and (why := why_no_gpu()):
        raise UserError(f"{why} Use device=cpu, or leave device out.", ExitCode.DEVICE, "device", "cuda")
    recipe = freeze_checked(command, tree, running)
    check_before_start(command, recipe, running)
    return recipe


def pin_names(command: str, overrides: list[str], recipe: Any) -> bool:
    """Pin the commits of all ``hf:ORG/NAME`` in a recipe; return False if another run has pinned other commits."""
    named = [option for option in WEIGHTS_OPTIONS if (getattr(recipe, option, None) or "").startswith("hf:")]
    if not named or not isinstance(recipe, RunRecipe):
        return True
    init_data = provenance.select_init_data_overrides(command, overrides)
    typed = compose.compose_config(command, [override for override in overrides if override not in init_data])
    return all([init_resolution.pin_hub_name(typed[option], getattr(recipe, option), recipe.runs) for option in named])


def resolve_init(
    command: str, overrides: list[str], init_data: list[str], tree: dict[str, Any], running: bool
) -> dict[str, Any]:
    """Return a tree with ``init`` resolved, and with the values of the protocol, view and data set that depend on it.

    Args:
        init_data: The overrides about the data set of the run that ``init`` names.
    """
    groups, runs = tables.list_groups(command), Path(tree["runs"])
    if tree.get("data") is not None or "data" not in groups:  # report a wrong value before a file is hashed
        freeze_checked(command, tree | ({"view": fill_view(tree, {})} if "view" in tree else {}), running)
    init = init_resolution.resolve_init(str(tree["init"]), runs, command)
    source = lookup.load_saved_recipe(init, runs)
    if "protocol" in groups:  # it may have values for the model of these weights
        tree = compose.compose_config(command, overrides, lookup.model_row_name(init, runs))
    tree["init"] = init
    if "view" in tree:
        view = find_view(tree, init, runs)
        tree["view"] = fill_view(tree, view.options)
        tree["res"] = tree["res"] or view.res
    if "data" in groups and tree.get("data") is None and not tree.get("images"):
        if source is not None:
            tree["data"] = change_init_data(command, overrides, init_data, source)
        elif command not in ("visualize", "generate"):  # which also work without images
            raise UserError("names no data set: add data=NAME.", option="init", value=init)
    return tree


def change_init_data(
    command: str, overrides: list[str], init_data: list[str], source: dict[str, Any]
) -> dict[str, Any]:
    """Return the data set of the run that ``init`` names, with overrides; raise a UserError if it has moved."""
    data, row = dict(source["data"]), tables.find_data_row(source["data"])
    keys = [override[5:].partition("=")[0] for override in init_data]
    if keys:
        changed = compose.compose_config(command, [*overrides, f"data={row}"])["data"]
        if "path" in keys and row in tables.UNNAMED_ROWS:  # which may hold another data set
            keys.append("name")
        data |= {key: changed[key] for key in keys}
    for option, kind, exists in path_options(data):
        place = None if option in keys or content.is_downloaded(data) else data.get(option)
        if place and not exists(Path(place)):
            why = f"this {kind}, which the run of init= read, is gone. If it moved, add data.{option}={kind.upper()}."
            raise UserError(why, ExitCode.DATA, f"data.{option}", place)
    return data


def fill_view(tree: dict[str, Any], view: dict[str, Any]) -> dict[str, Any]:
    """Return the view of a tree; what it leaves open is taken from the ``view`` of the weights or the default."""
    return DEFAULT_VIEW | view | {option: value for option, value in tree["view"].items() if value is not None}


def find_view(tree: dict[str, Any], init: str, runs: Path) -> WeightsView:
    """Return the view of the weights, or an empty one if the tree sets the whole view."""
    is_open = any(tree["view"][option] is None for option in ("resize", "crop", "interpolation"))
    return find_weights_view(init, runs, tree["res"]) if is_open else WeightsView("")


def check_before_start(command: str, recipe: Any, running: bool) -> None:
    """Raise a UserError if one of the runs that a recipe consists of, or a later stage of it, is invalid."""
    if command == "finetune":
        check_detector_row(recipe.detect.model)
        for part in expand_suite(recipe).values() if isinstance(recipe.data, Suite) else [recipe]:
            expand_search(part)
    if getattr(recipe, "init", None) and getattr(recipe, "res", None):
        check_resolution(recipe)  # before torch is imported
    if command == "pretrain":
        resolve_probe_recipes(recipe, running)


def check_detector_row(name: str | None) -> None:
    """Raise a UserError if ``detect.model`` is not a row of a detector."""
    if name is not None:
        errors.lookup(tables.list_group_files("model"), name, "model", "detect.model")
        if not isinstance(tables.load_model_row(name), Detector):
            why = "finds no objects: choose a detector, as detect.model=yolos_ti or detr_r50."
            raise UserError(why, option="detect.model", value=name)


def check_resolution(recipe: Any) -> None:
    """Raise a UserError if the model of ``recipe.init`` is known and cannot take images of ``recipe.res`` pixels."""
    model = lookup.find_architecture(recipe.init, recipe.runs)
    if isinstance(model, ViT | Detector):
        model.check_resolution(recipe.res)


def freeze_checked(command: str, tree: dict[str, Any], running: bool) -> Any:
    """Return the recipe of a tree; raise a UserError if it is to run and the path of its images is missing."""
    recipe = validate.freeze_recipe(command, tree)
    for group in tables.DATA_GROUPS if running else ():
        source = getattr(recipe, group, None)
        if source is not None:
            only_test = command in ("eval", "data", "visualize", "generate") or group == "against"
            parts = ("test",) if only_test else ("train",) if group == "unlabelled" else ("train", "test")
            source.check_complete(parts)
    return recipe


def check_model_filter(only: list[Any]) -> None:
    """Raise a UserError if no model name contains one of the texts ``only``."""
    if only and not any(str(text) in name for text in only for name in tables.list_group_files("model")):
        raise UserError(f"No model has {' or '.join(map(str, only))} in its name. Leave out only= to see all.")
