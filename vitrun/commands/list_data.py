"""``vitrun data``: the table of data sets, a row of it, or what is in a folder."""

from operator import itemgetter

from vitrun import recipes
from vitrun.config import data_args
from vitrun.data.describe import describe
from vitrun.data.sources import synthetic
from vitrun.data.sources.vtab import check, originals, tasks
from vitrun.recipes import tables
from vitrun.runtime.console import Screen, table

HEADER = ["data=", "classes", "train", "test", "Hub id@revision", "licence", "in the paper"]
PUBLISHED = itemgetter("classes", "train_images", "test_images")
SIZES = {  # classes, training and test images of a row, by its source
    "shapes": lambda row: (len(synthetic.classes(row["target"])), row["train_images"], row["test_images"]),
    "digits": lambda row: (10, recipes.DIGITS - row["test_images"], row["test_images"]),
    "files": PUBLISHED,
    "shards": PUBLISHED,
    "vtab": lambda row: tasks.sizes(row["task"]),
    "suite": lambda row: (None, None, None),  # its tasks have rows of their own
}


def main(recipe: recipes.DataSets, screen: Screen) -> None:
    """Print one row a data set: its sizes, where it comes from and what the paper calls it; or look into a folder."""
    if recipe.data is not None:
        whole = recipe.name == data_args.VTAB
        return check.main(recipe.data.root, recipe.save, screen) if whole else describe(recipe.data, screen)
    named = {name: tables.read_row("data", name) for name in tables.group_files("data")}
    if recipe.name == data_args.VTAB:
        named = {name: row for name, row in named.items() if row["source"] == data_args.VTAB}
    elif recipe.name:
        named = {recipe.name: named[recipe.name]}
    screen.show(table(HEADER, [[name, *cells(row)] for name, row in named.items()]))
    screen.say(more(recipe.name))


def more(name: str | None) -> str:
    """What is said below the table, or below one row of it."""
    if name == data_args.VTAB:
        return "vitrun data vtab data.root=FOLDER tells which of their originals are there, and which are exact."
    if name is None:
        return (
            "Rows without a Hub id need data.path=FOLDER; with one too it reads a local copy. More of one: vitrun data "
            "NAME; what is in a folder: vitrun data NAME data.path=FOLDER"
        )
    row, said = tables.read_row("data", name), f"{name}: {tables.groups('data')['data'][name]}."
    if row["source"] == "vtab":
        published = originals.PUBLISHED[tasks.TASKS[row["task"]].builder]
        return f"{said} Its folder has {published.layout}; it comes from {published.home}."
    return said + recipes.origin(name, row.get("home"), row.get("hub"))


def cells(row: dict) -> list[str]:
    """What a row of the table says behind its name."""
    numbers = [f"{number:,}" if number else "-" for number in SIZES[row["source"]](row)]
    revision = f"@{row['revision'][:4]}" if row.get("revision") else ""
    hub = f"{row['hub']}{revision}" if row.get("hub") else "-"
    vtab = row["source"] == "vtab"
    licence = tasks.licence(row["task"]) if vtab else row.get("licence") or "-"
    return [*numbers, hub, licence, row.get("paper") or ("VTAB" if row["source"] in ("vtab", "suite") else "-")]
