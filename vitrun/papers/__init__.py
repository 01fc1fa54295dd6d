"""Published results as data: a table is a file here, and every number in it has its source."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from vitrun.errors import lookup
from vitrun.papers import names

TABLES_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PaperNumber:
    """One published number: what it is of (model, upstream, data, ...), and where it is printed."""

    fields: dict[str, str]
    value: float
    std: float | None
    source: str
    percent: bool  # an accuracy, and no other figure as exaFLOPs

    @property
    def metric(self) -> str:
        """The name of the value in a result of ours."""
        return self.fields.get("metric", "top1")


@dataclass(frozen=True)
class PaperTable:
    """Published numbers, and how they are shown and compared."""

    name: str
    title: str
    commands: tuple[str, ...]  # whose runs stand beside it
    rows: tuple[str, ...]  # the fields that tell rows apart
    columns: tuple[str, ...]
    match: tuple[str, ...]  # the fields in which a run is of the same thing
    numbers: tuple[PaperNumber, ...]


def find_table_files() -> dict[str, Path]:
    """The files of all tables by name."""
    return {file.stem: file for file in sorted(TABLES_FOLDER.glob("*.yaml"))}


def load_table(name: str) -> PaperTable:
    """A table with the means of VTAB's groups, where it has all tasks of one; a UserError for a name that is none."""
    tree = yaml.safe_load(lookup(find_table_files(), name, "published table").read_text(encoding="utf-8"))
    numbers = [number for entry in tree["numbers"] for number in parse_entry(entry, tree)]
    shown = {key: tuple(tree[key]) for key in ("commands", "rows", "columns", "match")}
    return PaperTable(name=name, title=tree["title"], numbers=add_group_means(numbers), **shown)


def parse_entry(entry: dict[str, Any], tree: dict[str, Any]) -> list[PaperNumber]:
    """The numbers of an entry: one for each value and figure by ``keys``, all with the entry's other fields."""
    own = {key: value for key, value in entry.items() if key not in ("values", "figures", "source")}
    fields = {key: str(value) for key, value in (tree.get("all", {}) | own).items()}
    found = []
    for kind in ("values", "figures"):
        for key, value in entry.get(kind, {}).items():
            number, std = value if isinstance(value, list) else (value, None)
            source = entry.get("source", tree["source"])
            found.append(PaperNumber({**fields, tree["keys"]: str(key)}, number, std, source, kind == "values"))
    return found


def add_group_means(numbers: list[PaperNumber]) -> tuple[PaperNumber, ...]:
    """All numbers, and after those of a column with all tasks of VTAB the means of its three groups."""
    found = []
    for _, same in groupby(numbers, key=lambda number: {**number.fields, "data": ""}):
        column = list(same)
        tasks = {number.fields.get("data"): number for number in column}
        for group, members in names.VTAB_GROUPS.items():
            if group not in tasks and all(task in tasks for task in members):
                first = tasks[members[0]]
                value = mean(tasks[task].value for task in members)
                source = f"computed from {first.source}"
                column.append(PaperNumber({**first.fields, "data": group}, value, None, source, True))
        found += sorted(column, key=lambda number: number.fields.get("data") == names.VTAB_MEAN)
    return tuple(found)
