"""Annotations of large files, parsed once: as arrays in the user's cache."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from vitrun.data.boxes import BoxTable
from vitrun.data.sources.coco.annotations import Annotations, read_annotations
from vitrun.runtime.array_cache import identify_files, load_arrays, name_arrays, store_arrays

TABLE_FORMAT = 1  # a new number makes vitrun parse all files again
STORED_FROM = 16 * 2**20  # bytes of a file from which on its table is stored: parsing fewer takes less than a second
NAMES = "names"  # the array of the names of files and classes, as JSON in UTF-8


def load_annotations(file: Path, tick: Callable[[], None] = lambda: None) -> Annotations:
    """Return :func:`read_annotations` of a file; parse a large one only if it has changed since the last time."""
    if not file.is_file() or file.stat().st_size < STORED_FROM:
        return read_annotations(file, tick)
    store = name_arrays(["boxes", TABLE_FORMAT, identify_files([file])])
    if (arrays := load_arrays(store)) is not None:
        files, classes = json.loads(arrays.pop(NAMES).tobytes())
        return Annotations(files, tuple(classes), BoxTable(**arrays))
    annotations = read_annotations(file, tick)
    names = np.frombuffer(json.dumps([annotations.files, annotations.classes]).encode(), np.uint8)
    table = {field.name: getattr(annotations.table, field.name) for field in fields(BoxTable)}
    store_arrays(store, table | {NAMES: names})
    return annotations
