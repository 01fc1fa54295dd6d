"""Whose recipe a run follows: for which models and data sets a protocol has one, its rows."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from vitrun.errors import UserError
from vitrun.recipes import composition, tables

FALLBACK_PROTOCOL = (
    "small"  # nobody's: taken where no override names a protocol and that of the command's file has no row
)
ANY_DATA = "any"  # in the place of a data set: the files of a protocol for one model, whatever its data


class ProtocolRow(NamedTuple):
    """What names a row: a protocol, a data set, and a model where the command chooses one."""

    protocol: str
    data: str
    model: str | None

    def __str__(self) -> str:
        return f"{self.model} on {self.data}" if self.model else self.data


def choose_row(command: str, pairs: dict[str, str]) -> ProtocolRow:
    """The row that a command's overrides name; what they do not, its file does."""
    listed = [item for item in composition.read_config_file(command)["defaults"] if isinstance(item, dict)]
    keys = {"protocol": f"protocol/{command}@_global_", "data": "data", "model": "model"}
    default = {name: next((item[key] for item in listed if key in item), None) for name, key in keys.items()}
    row = ProtocolRow(**{name: pairs.get(name, default[name]) for name in keys})
    return row if "protocol" in pairs or has_row(command, row) else row._replace(protocol=FALLBACK_PROTOCOL)


def has_row(command: str, row: ProtocolRow) -> bool:
    """Whether the protocol has such a row."""
    names = list_rows(command, row.protocol)
    return f"{row.data}/{row.model}" in names or any(fnmatchcase(row.data, pattern) for pattern in names)


def list_rows(command: str, protocol: str) -> list[str]:
    """The names of a protocol's rows: data sets, patterns of such that its own file is for, or ``DATA/MODEL``."""
    own = composition.read_config_file(f"{tables.group_folder(command, 'protocol')}/{protocol}").get("row_for", [])
    files = tables.list_group_files(f"recipe/{command}/{protocol}")
    return [*own, *(name for name in files if not name.startswith(f"{ANY_DATA}/"))]


def find_weights_recipe(command: str, row: ProtocolRow, weights: str | None) -> str | None:
    """The file of ``conf/recipe/<command>`` for weights of that model in a row; None where it has none."""
    names = (f"{row.protocol}/{data}/{weights}" for data in (row.data, ANY_DATA))
    return next((name for name in names if name in tables.list_group_files(f"recipe/{command}")), None)


def check_protocol(command: str, pairs: dict[str, str]) -> None:
    """A UserError where a override names a protocol that has no row for the model and the data."""
    if "protocol" not in pairs or has_row(command, row := choose_row(command, pairs)):
        return
    others = [name for name in tables.list_groups(command)["protocol"] if has_row(command, row._replace(protocol=name))]
    raise UserError(
        f"protocol={row.protocol} has no row for {row}, only for {describe_rows(command, row)}: choose one of these, or for {row} "
        f"another protocol, {' or '.join(others)}."
    )


def describe_rows(command: str, row: ProtocolRow) -> str:
    """The rows of a protocol in overrides, with the models of those that are for some alone."""
    names, known = list_rows(command, row.protocol), tables.list_group_files("model")
    found: dict[str, list[str]] = {}
    for name in names:
        data, _, model = name.rpartition("/") if name.split("/")[-1] in known else (name, "", "")
        if not any(fnmatchcase(data, pattern) for pattern in names if pattern != data):
            found.setdefault(data, []).append(model)
    return ", ".join(data if "" in models else f"{data} ({', '.join(models)})" for data, models in found.items())
