"""Published results as data: each file here is a table, and every number in it has its source."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

from vitrun.errors import lookup
from vitrun.papers import names
from vitrun.runtime.yaml_text import load_yaml

TABLES_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PaperNumber:
    """Published number: what it is of (model, upstream, data, ...), and where it is printed."""

    fields: dict[str, str]
    value: float
    std: float | None
    source: str
    percent: bool  # whether it is an accuracy, and not another quantity such as exaFLOPs

    @property
    def metric(self) -> str:
        """Return the name of the metric in our results."""
        return self.fields.get("metric", "top1")


@dataclass(frozen=True)
class PaperTable:
    """Published numbers, and how they are shown and compared with runs."""

    name: str
    title: str
    commands: tuple[str, ...]  # whose runs are shown beside it
    rows: tuple[str, ...]  # the fields that are the labels of a row
    columns: tuple[str, ...]
    match: tuple[str, ...]  # the fields in which a run must agree to be compared
    numbers: tuple[PaperNumber, ...]


def find_table_files() -> dict[str, Path]:
    """Return the files of all tables by name."""
    return {file.stem: file for file in sorted(TABLES_FOLDER.glob("*.yaml"))}


def load_table(name: str) -> PaperTable:
    """Return a table, with the means of VTAB's groups if it has all tasks of one; raise UserError for a wrong name."""
    file = lookup(find_table_files(), name, "published table", "paper")
    tree = load_yaml(file.read_text(encoding="utf-8"))
    numbers = [number for entry in tree["numbers"] for number in parse_entry(entry, tree)]
    labels = {key: tuple(tree[key]) for key in ("commands", "rows", "columns", "match")}
    return PaperTable(name=name, title=tree["title"], numbers=add_group_means(numbers), **labels)


def parse_entry(entry: dict[str, Any], tree: dict[str, Any]) -> list[PaperNumber]:
    """Return the numbers of an entry: one for each of its ``values`` (accuracies) and ``figures`` (other quantities).

    All have the entry's other fields; the key of a value is the field that the table names as ``keys``.
    """
    shared = {key: value for key, value in entry.items() if key not in ("values", "figures", "source")}
    fields = {key: str(value) for key, value in (tree.get("all", {}) | shared).items()}
    source = entry.get("source", tree["source"])
    numbers = []
    for kind in ("values", "figures"):
        for key, content in entry.get(kind, {}).items():
            value, std = content if isinstance(content, list) else (content, None)
            numbers.append(PaperNumber({**fields, tree["keys"]: str(key)}, value, std, source, kind == "values"))
    return numbers


def add_group_means(numbers: list[PaperNumber]) -> tuple[PaperNumber, ...]:
    """Return the numbers, and after those of a column that has all tasks of a VTAB group the mean of the group."""
    extended: list[PaperNumber] = []
    for _, group_numbers in groupby(numbers, key=lambda number: {**number.fields, "data": ""}):
        column = list(group_numbers)
        tasks = {number.fields["data"]: number for number in column if "data" in number.fields}
        for group, members in names.VTAB_GROUPS.items():
            if group not in tasks and all(task in tasks for task in members):
                first = tasks[members[0]]
                value = mean(tasks[task].value for task in members)
                source = f"computed from {first.source}"
                column.append(PaperNumber({**first.fields, "data": group}, value, None, source, True))
        extended += sorted(column, key=lambda number: number.fields.get("data") == names.VTAB_MEAN)
    return tuple(extended)
