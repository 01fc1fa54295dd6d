"""Headers and columns of parquet files, and of Arrow files that ``datasets`` has written."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrun.data.sources.messages import abbreviate, first_line
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import parse_json
from vitrun.runtime.memory import lacks_memory

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    schema: "pyarrow.Schema"
    rows: int
    features: dict[str, dict[str, Any]]  # of `datasets`, by column: {"_type": "ClassLabel", "names": [...]}
    parquet: "pyarrow.parquet.FileMetaData | None"  # None for an Arrow file


def read_header(path: Path) -> Header:
    """Return the header of a file; raise a UserError that names it if it cannot be read."""
    import pyarrow.parquet

    with naming_file(path):
        if path.suffix == ".parquet":
            metadata = pyarrow.parquet.read_metadata(path)
            schema = metadata.schema.to_arrow_schema()
            if metadata.num_rows > (size := path.stat().st_size):
                raise ValueError(f"it has {metadata.num_rows:,} rows in {size:,} bytes, which cannot be images")
            return Header(schema, metadata.num_rows, parse_features(schema), metadata)
        table = open_arrow(path)
        return Header(table.schema, table.num_rows, parse_features(table.schema), None)


def parse_features(schema: "pyarrow.Schema") -> dict[str, dict[str, Any]]:
    """Return the features that ``datasets`` has written into a schema; none if it has not."""
    try:
        features = parse_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Raise a UserError that names the file and says what is wrong with it, if pyarrow raises one of its own."""
    import pyarrow

    try:
        yield
    except (OSError, ValueError, KeyError, NotImplementedError, MemoryError, pyarrow.ArrowException) as error:
        if lacks_memory(error, path):
            raise
        raise UserError(f"{path} cannot be read: {explain(path, error)}", ExitCode.DATA) from None


def explain(path: Path, error: Exception) -> str:
    """Return what is wrong with a file, and the way out."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}."
    try:
        with open(path, "rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as problem:
        return f"{problem.strerror}."
    if start == LFS_POINTER:
        return "it is a pointer of Git LFS and not the file. Fetch it with git lfs pull, or with hf download."
    if path.suffix == ".parquet" and start[:4] != b"PAR1":
        return f"it is not a parquet file, which begins with PAR1, but {start[:12]!r}. Download it again."
    if "footer" in str(error):
        return "its end is missing, so it was cut short. Download it again."
    return f"{first_line(error)[:150]}. It is damaged, or of another version: download or make it again."


def open_arrow(path: Path) -> "pyarrow.Table":
    """Return an Arrow file, memory-mapped."""
    import pyarrow

    source = pyarrow.memory_map(str(path))
    try:
        return pyarrow.ipc.open_stream(source).read_all()
    except pyarrow.ArrowInvalid:
        source.seek(0)
        return pyarrow.ipc.open_file(source).read_all()


def read_table(path: Path, columns: Sequence[str]) -> "pyarrow.Table":
    """Return some columns of a file; raise a UserError that names it if they cannot be read."""
    import pyarrow.parquet

    with naming_file(path):
        if path.suffix != ".parquet":
            table = open_arrow(path).select([*columns])
        else:
            with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
                table = file.read([*columns])
        table.validate(full=True)  # whether texts are UTF-8, among other things
        return table


def read_column(headers: Mapping[Path, Header], column: str) -> "pyarrow.ChunkedArray":
    """Return a column of several files; raise UserError if its types differ so that they cannot be joined."""
    import pyarrow

    parts = [read_table(path, [column]).column(column) for path in headers]
    if pyarrow.types.is_dictionary(parts[0].type):
        parts = [part.cast(parts[0].type.value_type) for part in parts]
    try:
        parts = [part.cast(parts[0].type) for part in parts]
    except pyarrow.ArrowException:
        kinds = abbreviate(sorted({str(part.type)[:60] for part in parts}))
        first, last = [*headers][0], [*headers][-1]
        raise UserError(
            f"The column {column!r} of {first.name} to {last.name} has different types: {kinds}. They are not of one "
            "data set.",
            ExitCode.DATA,
        ) from None
    return pyarrow.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)


def read_paths(headers: Mapping[Path, Header], column: str) -> list[str | None]:
    """Return the paths beside the bytes of images, None where there is none."""
    import pyarrow

    paths: list[str | None] = []
    for path, header in headers.items():
        kind = header.schema.field(column).type
        if pyarrow.types.is_struct(kind) and kind.get_field_index("path") >= 0:
            table = read_table(path, [f"{column}.path"])
            paths += pyarrow.compute.struct_field(table.column(column), "path").to_pylist()
        else:
            paths += [None] * header.rows
    return paths


def find_leaf(header: Header, column: str) -> int | None:
    """Return the index of the bytes of a column in a parquet file, None if they cannot be read in place."""
    if header.parquet is None:
        return None
    schema = header.parquet.schema
    for index in range(len(schema.names)):
        leaf = schema.column(index)
        if leaf.path in (column, f"{column}.bytes") and leaf.max_repetition_level == 0:
            text = leaf.path == column and leaf.logical_type.type == "STRING"
            return index if leaf.physical_type == "BYTE_ARRAY" and not text else None
    return None


def list_columns(header: Header) -> str:
    """Return the names of a file's columns, for messages."""
    return abbreviate([name[:40] for name in header.schema.names])
