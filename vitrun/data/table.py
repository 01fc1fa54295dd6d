"""``vitrun data``: the table of data sets, or what is in a folder."""

from operator import itemgetter

from vitrun import choices, recipe
from vitrun.data import embedded
from vitrun.data.describe import describe
from vitrun.data.vtab import check, tasks
from vitrun.screen import Screen, table

HEADER = ["data=", "classes", "train", "test", "Hub id@revision", "licence", "in the paper"]
PUBLISHED = itemgetter("classes", "train_images", "test_images")
SIZES = {  # classes, training and test images of a row, by its source
    "shapes": lambda row: (len(embedded.classes(row["target"])), row["train_images"], row["test_images"]),
    "digits": lambda row: (10, embedded.DIGITS - row["test_images"], row["test_images"]),
    "files": PUBLISHED,
    "shards": PUBLISHED,
    "vtab": lambda row: tasks.sizes(row["task"]),
    "suite": lambda row: (None, None, None),  # its tasks have rows of their own
}


def main(recipe: recipe.DataSets, screen: Screen) -> None:
    """Print one row a data set: its sizes, where it comes from and what the paper calls it; or look into a folder."""
    if recipe.path is not None:
        return describe(recipe.path, screen)
    if recipe.root is not None:
        return check.main(recipe.root, recipe.save, screen)
    wanted = {
        name: about
        for name, about in choices.groups("pretrain")["data"].items()
        if not recipe.only or any(word in name for word in recipe.only)
    }
    rows = {name: choices.read_row("data", name) for name in wanted}
    screen.say(table(HEADER, [[name, *cells(row)] for name, row in rows.items()]))
    if recipe.only:
        for name, about in wanted.items():
            home = rows[name].get("home")
            screen.say(f"{name}: {about}." + (f" From {home}" if home else ""))
    else:
        screen.say("Rows without a Hub id need data.path=FOLDER; with one too it reads a local copy. More: only=NAME")


def cells(row: dict) -> list[str]:
    """What a row of the table says behind its name."""
    numbers = [f"{number:,}" if number else "-" for number in SIZES[row["source"]](row)]
    revision = f"@{row['revision'][:4]}" if row.get("revision") else ""
    hub = f"{row['hub']}{revision}" if row.get("hub") else "-"
    return [
        *numbers,
        hub,
        row.get("licence") or "-",
        row.get("paper") or ("VTAB" if row["source"] in ("vtab", "suite") else "-"),
    ]
