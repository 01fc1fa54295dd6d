"""``vitrun data``: the table of data sets."""

from vitrun import choices, recipe
from vitrun.screen import Screen, table


def main(recipe: recipe.DataSets, screen: Screen) -> None:
    """Print one row a data set: where it comes from, at which revision, and what it is."""
    rows = []
    for name, about in choices.groups("pretrain")["data"].items():
        row = choices.read_row("data", name)
        source = row.get("hub") or ("data.path=" if "path" in row else "embedded")
        revision = (row.get("revision") or "")[:8]
        rows.append([name, source, revision, about])
    screen.say(table(["data=", "source", "revision", "what"], rows))
