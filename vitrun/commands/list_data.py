"""``vitrun data``: the table of data sets, a row of it, or what is in a folder."""

from operator import itemgetter

from vitrun import recipes
from vitrun.config import data_args
from vitrun.data.sources import synthetic
from vitrun.data.sources.vtab import builders, check, originals
from vitrun.data.summary import print_summary
from vitrun.papers import vtab_tasks
from vitrun.recipes import tables
from vitrun.runtime.console import Screen, format_table

HEADER = ["data=", "classes", "train", "test", "Hub id@revision", "licence", "in the paper"]
PUBLISHED_SIZES = itemgetter("classes", "train_images", "test_images")
SIZES_BY_SOURCE = {  # classes, training and test images of a row, by its source
    "shapes": lambda row: (len(synthetic.target_classes(row["target"])), row["train_images"], row["test_images"]),
    "digits": lambda row: (10, recipes.DIGITS_IMAGES - row["test_images"], row["test_images"]),
    "files": PUBLISHED_SIZES,
    "shards": PUBLISHED_SIZES,
    "vtab": lambda row: builders.task_sizes(row["task"]),
    "suite": lambda row: (None, None, None),  # its tasks have rows of their own
}


def execute(recipe: recipes.ListData, screen: Screen) -> None:
    """Print one row a data set: its sizes, where it comes from and what the paper calls it; or look into a folder."""
    if recipe.data is not None:
        whole = recipe.name == data_args.VTAB
        return (
            check.check_originals(recipe.data.root, recipe.save, screen)
            if whole
            else print_summary(recipe.data, screen)
        )
    named = tables.read_rows("data")
    if recipe.name == data_args.VTAB:
        named = {name: row for name, row in named.items() if row["source"] == data_args.VTAB}
    elif recipe.name:
        named = {recipe.name: named[recipe.name]}
    screen.print(format_table(HEADER, [[name, *format_row(row)] for name, row in named.items()]))
    screen.log(describe_rows(recipe.name))


def describe_rows(name: str | None) -> str:
    """What is said below the table, or below one row of it."""
    if name == data_args.VTAB:
        return "vitrun data vtab data.root=FOLDER tells which of their originals are there, and which are exact."
    if name is None:
        return (
            "Rows without a Hub id need data.path=FOLDER; with one too it reads a local copy. More of one: vitrun data "
            "NAME; what is in a folder: vitrun data NAME data.path=FOLDER"
        )
    row, said = tables.read_row("data", name), f"{name}: {tables.list_groups('data')['data'][name]}."
    if row["source"] == "vtab":
        published = originals.ARCHIVES[vtab_tasks.TASKS[row["task"]].builder]
        return f"{said} Its folder has {published.layout}; it comes from {published.home}."
    return said + recipes.describe_origin(name, row.get("home"), row.get("hub"))


def format_row(row: dict) -> list[str]:
    """What a row of the table says behind its name."""
    numbers = [f"{number:,}" if number else "-" for number in SIZES_BY_SOURCE[row["source"]](row)]
    revision = f"@{row['revision'][:4]}" if row.get("revision") else ""
    hub = f"{row['hub']}{revision}" if row.get("hub") else "-"
    vtab = row["source"] == "vtab"
    licence = builders.task_licence(row["task"]) if vtab else row.get("licence") or "-"
    return [*numbers, hub, licence, row.get("paper") or ("VTAB" if row["source"] in ("vtab", "suite") else "-")]
