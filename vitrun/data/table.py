"""``vitrun data``: the table of data sets."""

from vitrun import choices, recipe
from vitrun.data.vtab import check
from vitrun.screen import Screen, table

PLACES = {"files": "data.path=", "vtab": "data.root="}  # the word that says where a data set is, where the Hub has none


def main(recipe: recipe.DataSets, screen: Screen) -> None:
    """Print one row a data set: where it comes from, at which revision, and what it is; or check VTAB's originals."""
    if recipe.root is not None:
        return check.main(recipe.root, recipe.save, screen)
    rows = []
    for name, about in choices.groups("pretrain")["data"].items():
        row = choices.read_row("data", name)
        source = row.get("hub") or PLACES.get(row["source"], "embedded")
        revision = (row.get("revision") or "")[:8]
        rows.append([name, source, revision, about])
    screen.say(table(["data=", "source", "revision", "what"], rows))
