"""Images in files: parquet in the Hub's layout, and folders with a folder a class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitrun import draws, recipe
from vitrun.data.splits import Split
from vitrun.mistakes import Exit, Mistake

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif"}
TEST_NAMES = ("test", "val", "validation")  # what people call the folder of images that are not trained on
TEST_SHARE = 0.1  # of the files, where one folder has to serve both parts


def read(data: recipe.Files, part: str) -> Split:
    """One part of a data set in ``data.path``."""
    if any(data.path.rglob("*.parquet")):
        return from_parquet(data, part)
    return from_folders(data, part)


def from_parquet(data: recipe.Files, part: str) -> Split:
    """The part of a local copy in the Hub's layout, its Arrow tables memory-mapped by ``datasets``."""
    import datasets

    datasets.disable_progress_bars()
    split = named(data, part)
    files = sorted(str(file) for file in data.path.rglob(f"{split}-*.parquet"))
    if not files:
        found = sorted(str(file.relative_to(data.path)) for file in data.path.rglob("*.parquet"))
        raise Mistake(
            f"data.path={data.path}: no {split}-*.parquet, but {listed(found)}. Name its split: data.{part}=NAME.",
            Exit.DATA,
        )
    try:
        source = datasets.load_dataset("parquet", data_files={split: files}, split=split)
    except Exception as error:
        raise Mistake(
            f"data.path={data.path}: its parquet files cannot be read: {first_line(error)}.", Exit.DATA
        ) from None
    return from_table(data, source)


def from_table(data: recipe.Files, source: Any) -> Split:
    """A ``datasets.Dataset`` as a split; bytes are read when an image is."""
    import datasets
    import pyarrow.compute as compute

    columns = source.column_names
    for option, column in (("image", data.image), ("label", data.label)):
        if column not in columns:
            raise Mistake(
                f"data={data.name}: no column {column!r} among {', '.join(columns)}: add data.{option}=COLUMN.",
                Exit.DATA,
            )
    feature = source.features[data.label]
    labels = np.asarray(source.data.column(data.label), dtype=np.int64)
    names = getattr(feature, "names", None) or [str(n) for n in range(labels.max(initial=-1) + 1)]
    check_classes(data, len(names))
    images = source.cast_column(data.image, datasets.Image(decode=False)).data.column(data.image)
    encoded, paths = compute.struct_field(images, "bytes"), compute.struct_field(images, "path")
    keys = [
        f"{row:08d}/{path or ''}" for row, path in enumerate(paths.to_pylist())
    ]  # a row number alone is surely unique

    def read_bytes(index: int) -> bytes:
        found = encoded[index].as_py()
        return found if found is not None else Path(paths[index].as_py()).read_bytes()

    return Split(keys, labels, tuple(names), encoded=read_bytes)


def from_folders(data: recipe.Files, part: str) -> Split:
    """``path/train/CLASS/*`` and ``path/test/CLASS/*``; or ``path/CLASS/*``, a tenth of it for testing."""
    folders = {p.name: p for p in sorted(data.path.iterdir()) if p.is_dir()}
    test = next((folders[n] for n in (data.test, *TEST_NAMES) if n in folders), None)
    if data.train in folders and test:
        root = folders[data.train] if part == "train" else test
        names = [p.name for p in sorted(folders[data.train].iterdir()) if p.is_dir()]
        others = [p.name for p in sorted(root.iterdir()) if p.is_dir() and p.name not in names]
        if others:
            raise Mistake(f"{root} has classes that {folders[data.train]} has not: {listed(others)}.", Exit.DATA)
        files = scan(root, names)
    else:
        names = list(folders)
        files = scan(data.path, names)
        inside = np.array(
            [draws.key(0, "folder-split", hash_name(key)) % 1000 < 1000 * TEST_SHARE for key, _, _ in files]
        )
        files = [file for file, is_test in zip(files, inside) if is_test == (part != "train")]
    if not files:
        raise Mistake(
            f"data.path={data.path}: no images for the {part} part; found "
            f"{listed(sorted(p.name for p in data.path.iterdir()))}. "
            "Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg, or *.parquet.",
            Exit.DATA,
        )
    check_classes(data, len(names))
    keys = [key for key, _, _ in files]
    paths = [path for _, path, _ in files]
    labels = np.array([label for _, _, label in files], dtype=np.int64)
    return Split(keys, labels, tuple(names), encoded=lambda index: Path(paths[index]).read_bytes())


def scan(root: Path, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """(key, path, label) of every image below ``root/CLASS``, in order of class and name."""
    found = []
    for label, name in enumerate(names):
        for path in sorted((root / name).rglob("*")):
            if path.suffix.lower() in IMAGES:
                found.append((path.relative_to(root).as_posix(), str(path), label))
    return found


def hash_name(key: str) -> int:
    """A number that a file's name decides, whatever else is in the folder."""
    return draws.key(0, key)


def check_classes(data: recipe.Files, number: int) -> None:
    """A Mistake where the source has another number of classes than is published."""
    if data.classes is not None and number != data.classes:
        raise Mistake(f"data={data.name} has {data.classes} classes, but its source has {number}.", Exit.DATA)


def named(data: recipe.Files, part: str) -> str:
    """What the source calls a part."""
    return data.train if part == "train" else data.test


def listed(names: Sequence[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"


def first_line(error: Exception) -> str:
    """What an exception says first, or what it is where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
