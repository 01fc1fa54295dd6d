"""Files of predictions: rows are written as they are computed, and an interrupted command continues after the last."""

import csv
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import RawIOBase, StringIO
from pathlib import Path
from typing import IO, Any

from vitrun.commands.prediction_rows import Columns, Row, format_csv
from vitrun.errors import ExitCode, UserError, advise_writing
from vitrun.runtime.files import parse_json, read_small_text, remove_partials, write_atomic, write_text_atomic
from vitrun.runtime.outputs import check_replaceable, exists_error, is_own, record_output
from vitrun.runtime.process import hold_folder, lock_file

PARQUET_SECONDS = 5.0  # at least, between two writes of a Parquet file, which is written whole
PARQUET_SHARE = 0.05  # of the time that these writes may take
BEGINNINGS = {".csv": (b"path,class1,", b"path,objects,"), ".jsonl": (b'{"path": ',)}  # of files of predictions


Write = Callable[[Sequence[Row]], None]


@contextmanager
def open_prediction_file(
    path: Path, columns: Columns, identity: dict[str, Any], force: bool
) -> Iterator[tuple[Write, dict[str, bool]]]:
    """Yield a function that adds rows to a file, and the images in it already, each with whether it was readable.

    A second file, ``.NAME.unfinished``, holds the ``identity`` of the weights and options until the last row is
    written. Raise UserError (exit code 2) if the file is anything else than the same predictions, of some images.
    """
    with described_writing(path), marked_unfinished(path, identity, force) as continues:
        done = read_done(path, columns) if continues else {}
        open_rows = open_parquet if path.suffix == ".parquet" else open_text
        with open_rows(path, columns, continues) as write:
            yield write, done


@contextmanager
def marked_unfinished(path: Path, identity: dict[str, Any], force: bool) -> Iterator[bool]:
    """Mark a file as unfinished predictions of ``identity`` until the end of the body, then record that it is complete.

    Yield whether it has some of them. Raise UserError if another process is writing it.
    """
    mark = find_mark(path)
    with ExitStack() as stack:
        with hold_folder(path.parent):  # so that of several processes one makes the mark
            if mark.is_file():
                open_locked(mark).close()
                remove_partials(path.parent, re.escape(path.name))
            continues = check_prediction_file(path, identity, force)
            write_text_atomic(mark, json.dumps(identity))
            stack.enter_context(open_locked(mark))
        yield continues
        record_output(path, hash_identity(identity))
        mark.unlink()


def open_locked(mark: Path) -> IO[bytes]:
    """Open and lock a mark; raise UserError if another process has."""
    file = open(mark, "rb")  # noqa: SIM115
    try:
        lock_file(file)
    except OSError:
        file.close()
        why = f"another process is writing these predictions ({mark.name}): wait until it ends, or stop it."
        raise UserError(why, option="save") from None
    return file


def find_mark(path: Path) -> Path:
    """Return the file beside unfinished predictions that says what they are of."""
    return path.with_name(f".{path.name}.unfinished")


def hash_identity(identity: dict[str, Any]) -> str:
    """Return the SHA-256 of what predictions depend on."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def check_prediction_file(path: Path, identity: dict[str, Any], force: bool) -> bool:
    """Return whether a file has predictions of ``identity``; raise UserError if it must not be written.

    It may be unfinished; a finished one is replaced if ``force`` is set.
    """
    if not path.parent.is_dir():
        why = f"there is no folder {path.parent}: make it, or choose another."
        raise UserError(why, option="save", value=str(path))
    mark = find_mark(path)
    if not os.path.lexists(mark):
        check_replaceable(path, "save")
        is_same = is_own(path, hash_identity(identity)) and not force
        if path.exists() and not is_same and not force:
            raise exists_error(path, "save", "with predictions by other weights or options")
        return is_same
    begun = read_mark(mark)
    if os.path.lexists(path) and not begins_with_predictions(path):
        check_replaceable(path, "save")
    if begun == identity and path.is_file():
        return True
    if path.exists() and not force:
        raise exists_error(path, "save", "with unfinished predictions by other weights or options")
    return False


def read_mark(mark: Path) -> dict[str, Any]:
    """Return the identity of unfinished predictions; raise UserError if the file of that name is something else."""
    try:
        begun = parse_json(read_small_text(mark))
    except (OSError, ValueError):
        begun = None
    if not isinstance(begun, dict) or "weights" not in begun:
        raise UserError(f"{mark} does not say which predictions are unfinished: move it away.")
    return begun


def begins_with_predictions(path: Path) -> bool:
    """Return whether a file has the beginning of one of predictions, which may be cut off; a user's own has not."""
    if path.is_symlink() or not path.is_file():
        return False
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            return {"path", "error"} < {*pyarrow.parquet.read_schema(path).names}
        except (OSError, pyarrow.ArrowException):
            return False
    with open(path, "rb") as file:
        start = file.read(max(map(len, BEGINNINGS[path.suffix])))
    return any(start.startswith(beginning[: len(start)]) for beginning in BEGINNINGS[path.suffix])


@contextmanager
def described_writing(path: Path) -> Iterator[None]:
    """Raise UserError (exit code 6) in place of an OSError about a file that cannot be written."""
    try:
        yield
    except OSError as error:
        why = f"cannot be written: {error.strerror}. {advise_writing(error)}, and run the same command to continue."
        raise UserError(why, ExitCode.SPACE, "save", str(path)) from None


def read_done(path: Path, columns: Columns) -> dict[str, bool]:
    """Return the images that a file of predictions has, each with whether it was readable; remove what was cut off."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        with path.open("rb") as file:  # pyarrow takes a path with a colon for an address
            table = pyarrow.parquet.read_table(file, columns=["path", "error"])
        return {name: not error for name, error in zip(*(column.to_pylist() for column in table.columns))}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    rows: list[list[str]] = []
    if path.suffix == ".csv" and whole:
        whole, rows = drop_cut_lines(whole, columns)
    if len(whole) < len(content):
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    if path.suffix == ".csv":
        return {row[0]: not row[-1] for row in rows}
    lines = whole.decode().splitlines()
    return {row["path"]: "error" not in row for row in map(json.loads, lines)}


def drop_cut_lines(whole: bytes, columns: Columns) -> tuple[bytes, list[list[str]]]:
    """Return CSV without a last line that was cut off and without an image that lacks lines, and its rows."""
    header, *rows = csv.reader(StringIO(whole.decode(), newline=""))
    while rows and len(rows[-1]) < len(header):  # cut off at a line feed within a name
        whole = whole[: whole[:-1].rfind(b"\n") + 1]
        header, *rows = csv.reader(StringIO(whole.decode(), newline=""))
    if rows:
        of_last = next((place for place, row in enumerate(reversed(rows)) if row[0] != rows[-1][0]), len(rows))
        if of_last < columns.count_lines(rows[-1]):
            rows = rows[: len(rows) - of_last]
            text = StringIO()
            csv.writer(text, lineterminator="\n").writerows([header, *rows])
            whole = text.getvalue().encode()
    return whole, rows


@contextmanager
def open_text(path: Path, columns: Columns, continues: bool) -> Iterator[Write]:
    """Yield a function that adds lines to a CSV or JSON Lines file, in one write each time."""

    def write(rows: Sequence[Row]) -> None:
        is_csv = path.suffix == ".csv"
        lines = format_csv(rows, columns) if is_csv else "".join(f"{json.dumps(row.describe())}\n" for row in rows)
        write_whole(file, lines.encode())

    with open(path, "ab" if continues else "wb", buffering=0) as file:
        if path.suffix == ".csv" and not file.tell():
            write_whole(file, format_csv([], columns, header=True).encode())
        yield write


def write_whole(file: RawIOBase, content: bytes) -> None:
    """Write all bytes to a file without a buffer: a disk that becomes full takes a part, and refuses only the rest."""
    while content:
        content = content[file.write(content) :]


@contextmanager
def open_parquet(path: Path, columns: Columns, continues: bool) -> Iterator[Write]:
    """Yield a function that adds rows to a Parquet file, which is rewritten whole every few seconds, and at the end."""
    import pyarrow
    import pyarrow.parquet

    text, number = pyarrow.string(), pyarrow.float32()
    lists = {"classes": text, "probabilities": number, "boxes": pyarrow.list_(number)}
    kinds = {"path": text} | {name: pyarrow.list_(lists[name]) for name in columns.lists}
    schema = pyarrow.schema(kinds | {"error": text})
    tables = [pyarrow.parquet.read_table(path.absolute())] if continues else []
    next_write = 0.0

    def write_file(partial: Path) -> None:
        with partial.open("wb") as file:  # pyarrow takes a path with a colon for an address
            pyarrow.parquet.write_table(tables[0], file)

    def store() -> None:
        nonlocal next_write
        start = time.monotonic()
        tables[:] = [pyarrow.concat_tables(tables or [schema.empty_table()])]
        write_atomic(path, write_file)
        now = time.monotonic()
        next_write = now + max(PARQUET_SECONDS, (now - start) / PARQUET_SHARE)

    def write(rows: Sequence[Row]) -> None:
        tables.append(
            pyarrow.table({name: [getattr(row, name) for row in rows] for name in kinds | {"error": text}}, schema)
        )
        if time.monotonic() >= next_write:
            store()

    try:
        yield write
    finally:
        store()
