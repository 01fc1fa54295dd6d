"""Copies that ``datasets`` stores as Arrow files, of what cannot be read in place."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrun import recipes
from vitrun.data.sources.messages import first_line, typed_override
from vitrun.errors import ExitCode, UserError, is_out_of_memory

if TYPE_CHECKING:
    import pyarrow


def open_copy(
    data: recipes.Files, paths: Sequence[Path], column: str, reason: str, size: int
) -> "pyarrow.ChunkedArray":
    """Return a column of ``size`` bytes of parquet files from a copy, which is made the first time.

    Raise UserError if there is no room for it, or if it may not be written.
    """
    import datasets

    files = [str(path) for path in paths]
    datasets.disable_progress_bars()
    builder = datasets.load_dataset_builder("parquet", data_files={"part": files}, columns=[column])
    prepare(data, builder, f"its parquet files are {reason}", size)
    return builder.as_dataset(split="part").data.column(column)


def prepare(data: recipes.Files, builder: Any, reason: str, size: int) -> None:
    """Let ``builder`` of ``datasets`` write its copy if there is none yet.

    Raise UserError if there is no room for its ``size`` in bytes, or if it cannot be written.
    """
    place = Path(builder.cache_dir)
    if place.is_dir():
        return
    parent = next(folder for folder in place.parents if folder.exists())
    move = "Set another folder: HF_DATASETS_CACHE=FOLDER."
    need = f"{typed_override(data)}: {reason}, so that a copy is needed"
    if not os.access(parent, os.W_OK):
        raise UserError(f"{need}, but {parent} is not writable. {move}", ExitCode.SPACE)
    if (free := shutil.disk_usage(parent).free) < size:
        raise UserError(
            f"{need} of {size / 1e9:.1f} GB, but {parent} has {free / 1e9:.1f} GB free. {move}", ExitCode.SPACE
        )
    try:
        builder.download_and_prepare()
    except OSError as error:
        why = error.strerror or first_line(error)
        raise UserError(f"{need}, which cannot be written to {place}: {why}. {move}", ExitCode.SPACE) from None
    except Exception as error:  # whatever its readers raise
        if is_out_of_memory(error):
            raise
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise UserError(f"{need}, which `datasets` cannot make: {first_line(cause)[:150]}.", ExitCode.DATA) from None
