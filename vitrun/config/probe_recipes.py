"""Recipes of the few-shot probes that run during pretraining (fewshot.every=)."""

from itertools import zip_longest

from vitrun import errors
from vitrun.config import compose, validate
from vitrun.config.data_paths import resolve_paths
from vitrun.errors import UserError
from vitrun.recipes import Data, Fewshot, Pretrain, tables, trees


def resolve_probe_recipes(recipe: Pretrain, running: bool = True) -> dict[str, Fewshot]:
    """Return the recipe of each online probe by its data set: that of ``vitrun fewshot data=NAME``.

    Shots, seeds and l2 are those of the run, and so are the options of the data set if the run trains on it.
    """
    probe, known = recipe.fewshot, tables.list_group_files("data")
    if probe.every is None:
        return {}
    own = [name for name in known if matches_row(name, recipe.data)][:1]
    if not (probe.data or own):
        why = f"needs a data set: {recipe.data.name} is not in conf/data. Add fewshot.data=NAME."
        raise UserError(why, option="fewshot.every", value=str(probe.every))
    result = {}
    for name, path in zip_longest(probe.data or own, probe.paths):
        errors.lookup(known, name, "data set", "fewshot.data")
        tree = compose.compose_config("fewshot", [f"data={name}", *[f"data.path={path}"] * (path is not None)])
        if path is None and matches_row(name, recipe.data):
            tree["data"] = trees.to_plain_tree(recipe.data)
        given = {key: value for key, value in trees.to_plain_tree(probe).items() if key in ("shots", "seeds", "l2")}
        tree |= {"init": "", "batch": recipe.batch, **given}
        try:
            resolve_paths("data.", tree["data"])
            result[name] = validate.freeze_recipe("fewshot", tree)
        except UserError as error:
            option, value = ("fewshot.paths", path) if error.option == "data.path" else ("fewshot.data", name)
            raise UserError(error.message, error.status, option, str(value)) from None
        if running:
            check_probe_data(result[name].data)
    return result


def check_probe_data(data: Data) -> None:
    """Raise a UserError about ``fewshot.data`` if the images of that data set are not available."""
    try:
        data.check_complete(("train", "test"))
    except UserError:
        why = "needs a folder of images: add fewshot.paths=FOLDER."
        raise UserError(why, option="fewshot.data", value=data.name) from None


def matches_row(name: str, data: Data) -> bool:
    """Return whether a data set is that of ``conf/data/<name>.yaml``, regardless of its options."""
    row, known = tables.read_row("data", name), tables.find_data_row({"name": data.name, "source": data.source})
    return (row["name"], row["source"]) == (known, data.source)
