"""Whose recipe a run follows: for which models and data sets a protocol has one, its rows."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from vitrun.errors import Mistake
from vitrun.recipes import tables

SMALL = "small"  # nobody's: taken where no word names a protocol and that of the verb's file has no row
ANY = "any"  # in the place of a data set: the files of a protocol for one model, whatever its data


class Row(NamedTuple):
    """What names a row: a protocol, a data set, and a model where the verb chooses one."""

    protocol: str
    data: str
    model: str | None

    def __str__(self) -> str:
        return f"{self.model} on {self.data}" if self.model else self.data


def chosen(verb: str, pairs: dict[str, str]) -> Row:
    """The row that a verb's words name; what they do not, its file does."""
    listed = [item for item in tables.read_file(verb)["defaults"] if isinstance(item, dict)]
    keys = {"protocol": f"protocol/{verb}@_global_", "data": "data", "model": "model"}
    default = {name: next((item[key] for item in listed if key in item), None) for name, key in keys.items()}
    row = Row(**{name: pairs.get(name, default[name]) for name in keys})
    return row if "protocol" in pairs or exists(verb, row) else row._replace(protocol=SMALL)


def exists(verb: str, row: Row) -> bool:
    """Whether the protocol has such a row."""
    names = rows(verb, row.protocol)
    return f"{row.data}/{row.model}" in names or any(fnmatchcase(row.data, pattern) for pattern in names)


def rows(verb: str, protocol: str) -> list[str]:
    """The names of a protocol's rows: data sets, patterns of such that its own file is for, or ``DATA/MODEL``."""
    own = tables.read_file(f"{tables.folder(verb, 'protocol')}/{protocol}").get("row_for", [])
    files = tables.group_files(f"recipe/{verb}/{protocol}")
    return [*own, *(name for name in files if not name.startswith(f"{ANY}/"))]


def for_weights(verb: str, row: Row, weights: str | None) -> str | None:
    """The file of ``conf/recipe/<verb>`` for weights of that model in a row; None where it has none."""
    names = (f"{row.protocol}/{data}/{weights}" for data in (row.data, ANY))
    return next((name for name in names if name in tables.group_files(f"recipe/{verb}")), None)


def check(verb: str, pairs: dict[str, str]) -> None:
    """A Mistake where a word names a protocol that has no row for the model and the data."""
    if "protocol" not in pairs or exists(verb, row := chosen(verb, pairs)):
        return
    others = [name for name in tables.groups(verb)["protocol"] if exists(verb, row._replace(protocol=name))]
    raise Mistake(
        f"protocol={row.protocol} has no row for {row}, only for {told(verb, row)}: choose one of these, or for {row} "
        f"another protocol, {' or '.join(others)}."
    )


def told(verb: str, row: Row) -> str:
    """The rows of a protocol in words, with the models of those that are for some alone."""
    names, known = rows(verb, row.protocol), tables.group_files("model")
    found: dict[str, list[str]] = {}
    for name in names:
        data, _, model = name.rpartition("/") if name.split("/")[-1] in known else (name, "", "")
        if not any(fnmatchcase(data, pattern) for pattern in names if pattern != data):
            found.setdefault(data, []).append(model)
    return ", ".join(data if "" in models else f"{data} ({', '.join(models)})" for data, models in found.items())
