"""What a recipe computes with, by its content: not by the place where data and weights lie, nor how it is spelt."""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from vitrun.recipes import RECIPE_FILE, is_url, tables
from vitrun.runtime.files import sha256_file

PLACES = ("path", "root", "real")  # options of a data set that say where something lies
BY_TASK = ("vtab", "suite")  # sources whose images are published: the name of a task says which they are
DATA_SUFFIXES = {  # files that most folders of images have; if one has none of them, all of its files are listed
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".gif"),
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".parquet", ".arrow", ".tar"),
}
LEFT_OUT = (".", "@", "#", "$", "__MACOSX")  # beginnings of names: hidden, and of the systems of network drives
MAX_SAMPLE = 1000  # files of a folder whose sizes count; of every file its name does
MAX_READ = 64  # files of which bytes count too
END_BYTES = 65536  # at the beginning of a file, and at its end


def drop_places(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a recipe without places: the weights and lists of keys by hash, a data set by its row."""
    result = dict(options)
    if isinstance(result.get("init"), str):
        result["init"] = drop_path(result["init"])
    if result.get("exclude"):
        result["exclude"] = [drop_path(name) for name in result["exclude"]]
    for group in ("data", "against"):
        if isinstance(data := result.get(group), dict):
            placed = {key: "elsewhere" for key in PLACES if data.get(key) is not None}
            result[group] = data | {"name": tables.find_data_row(data)} | placed
    return result


def drop_path(pinned: str) -> str:
    """Return ``#HASH`` of ``PATH#HASH``; any other name as it is."""
    path, _, digits = pinned.rpartition("#")
    return f"#{digits}" if path else pinned


def identify_content(options: dict[str, Any]) -> dict[str, str]:
    """Return a fingerprint of what lies at each place that a recipe names, by its option; of whole folders a cheap one.

    Of a data set that is opened, the full one in ``about.json`` is checked too.
    """
    result = {}
    for group in ("data", "against"):
        data = options.get(group) or {}
        for key in PLACES if data.get("source") not in BY_TASK else ():
            if data.get(key) is not None and not is_downloaded(data):
                result[f"{group}.{key}"] = fingerprint_path(os.path.realpath(os.path.expanduser(data[key])))
    for number, path in enumerate((options.get("fewshot") or {}).get("paths", ())):
        if path is not None:
            result[f"fewshot.paths.{number}"] = fingerprint_path(os.path.realpath(os.path.expanduser(path)))
    return result


def is_downloaded(data: dict[str, Any]) -> bool:
    """Return whether ``data.path`` is where files are downloaded to: their URLs say which they are."""
    return any(is_url(str(data.get(part))) for part in ("train", "test"))


@cache
def fingerprint_path(path: str) -> str:
    """Return 16 hex digits that identify a file by its bytes, a folder by :func:`fingerprint_folder`."""
    if os.path.isfile(path):
        return sha256_file(Path(path))[:16]
    if path == os.path.dirname(path):  # the whole file system, which is an error once it is opened
        return ""
    return fingerprint_folder(path, DATA_SUFFIXES) or fingerprint_folder(path, None) or ""


def fingerprint_folder(folder: str, suffixes: set[str] | None) -> str | None:
    """Return 16 hex digits of the names of the files below a folder, and of sizes and bytes of an even sample of them.

    Of most files only the name is read, so that 1.3 million take seconds. Return None if there are no files.

    Args:
        suffixes: Of the files that count; None for all.
    """
    code, sample, stride, count = hashlib.sha256(), [], 1, 0
    for inside, names in walk_folder(folder, "", ()):
        names = [name for name in names if suffixes is None or os.path.splitext(name)[1].lower() in suffixes]
        code.update(b"".join(os.fsencode(f"{inside}{name}") + b"\0" for name in names))
        first = -count % stride
        sample += [f"{inside}{name}" for name in names[first::stride]]
        count += len(names)
        while len(sample) > MAX_SAMPLE:
            sample, stride = sample[::2], stride * 2
    code.update(repr([file_size(f"{folder}/{file}") for file in sample]).encode())
    for file in sample[:: len(sample) // MAX_READ + 1]:
        code.update(read_ends(f"{folder}/{file}"))
    return code.hexdigest()[:16] if count else None


def walk_folder(folder: str, inside: str, above: tuple[os.stat_result, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below ``folder`` (as ``cat/``, or empty) with the sorted names of its files.

    Hidden files, folders of runs and links to a folder above are left out; so are folders that cannot be read, which
    is an error when the images are opened.
    """
    here = f"{folder}/{inside}"
    try:
        status = os.stat(here)
        with os.scandir(here) as entries:
            kinds = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(LEFT_OUT))
    except OSError:
        return
    if any(os.path.samestat(status, other) for other in above) or inside and (RECIPE_FILE, False) in kinds:
        return
    yield inside, [name for name, is_folder in kinds if not is_folder]
    for name in (name for name, is_folder in kinds if is_folder):
        yield from walk_folder(folder, f"{inside}{name}/", (*above, status))


def file_size(path: str) -> int:
    """Return the size of a file; -1 if it has none, as a broken link."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def read_ends(path: str) -> bytes:
    """Return the first and the last bytes of a file, which are all of a small one; none if it cannot be read."""
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return b""
        with open(path, "rb") as file:
            first = file.read(END_BYTES)
            file.seek(max(END_BYTES, os.fstat(file.fileno()).st_size - END_BYTES))
            return first + file.read(END_BYTES)
    except OSError:
        return b""
