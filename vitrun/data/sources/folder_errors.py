"""Folders that are not laid out as class folders: what is wrong with them, and what to do."""

import re
from collections.abc import Sequence
from pathlib import Path

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.data.sources.scan import READABLE_SUFFIXES, Scan, starts_like_image
from vitrun.data.sources.shards.index import INDEX_FOLDER
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.file_kinds import IMAGE_SUFFIXES

# Usual names of the folders of the parts, in the order in which they are tried; upper and lower case are equal
PART_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "eval", "dev"),
}
PART_NAME = re.compile(r"(train|test|val|valid|eval|dev)(ing|ation|uation)?", re.IGNORECASE)
ARCHIVE_SUFFIXES = {".zip", ".tar", ".tgz", ".gz", ".rar", ".7z"}
TABLE_NAME = re.compile(r"train|label|meta|class", re.IGNORECASE)
TABLE_SUFFIXES = {".csv", ".tsv", ".jsonl", ".xlsx"}


def check_classes_not_parts(data: recipes.Files, scan: Scan, names: Sequence[str]) -> tuple[str, ...]:
    """Return a note if a class is named like a part; raise UserError if the folders of ``data.path`` are parts.

    They are if all are named like parts, or if both a training and a test part are among them.
    """
    full = [name for name in names if scan.has_images(name)]
    parts = [name for name in full if PART_NAME.fullmatch(name)]
    trains = [name for name in parts if name.casefold().startswith("train")]
    if not parts:
        return ()
    if len(parts) == len(full) or 0 < len(trains) < len(parts):
        more = f" If they are classes, rename them, as in {parts[0]}_." if len(parts) < len(full) else ""
        raise UserError(
            f"{data.group}.path={data.path} has {abbreviate(parts)}, which look like splits, not classes, but no "
            f"class folders in them. {advise_sorting(data.folder)}{more}",
            ExitCode.DATA,
        )
    return (f"{abbreviate(parts)} is read as a class, because its images are not in class folders",)


def check_parts_above_classes(data: recipes.Files) -> None:
    """Raise UserError if each class folder has a folder for each part."""
    scan = Scan(data.folder)
    names = scan.list_folders()
    inside = [Scan(data.folder / name).list_folders() for name in names]
    if len(names) > 1 and all(len(folders) > 1 and all(map(PART_NAME.fullmatch, folders)) for folders in inside):
        raise UserError(
            f"{data.group}.path={data.path} has the parts inside of the classes ({names[0]}/{inside[0][0]}), so that "
            f"all would be mixed. Put the parts outside: {inside[0][0]}/{names[0]}.",
            ExitCode.DATA,
        )


def explain_missing_part(data: recipes.Files, part: str, other: Path | None) -> str:
    """Return that there is no folder of a part, and what to do."""
    assert other is not None
    scan = Scan(data.folder)
    siblings = [name for name in scan.list_folders() if name != other.name and scan.has_images(name)]
    beside = f" beside {abbreviate(siblings)}" if siblings else ""
    usual = "train" if part == "train" else "test, val or validation"
    way_out = f"Name it {usual}, or add {data.group}.{part}=FOLDER"
    if siblings:
        advice = f"If {other.name} is a class too, put its images directly into it"
    else:
        advice = (
            f"Or move the class folders out of {other.name}, for {data.test_share:.0%} of each class to be for testing"
        )
    what = f"has a folder {other.name}{beside}, but no folder of {part} images with class folders in it"
    return f"{data.group}.path={data.path} {what}. {way_out}. {advice}."


def explain_one_class(data: recipes.Files, root: Path, name: str) -> str:
    """Return that a folder has only one class, and what to do."""
    tables = find_tables(root)
    if tables and not Scan(root).has_class_folders(name):
        return f"{root} has no class folders. {advise_sorting(root)}"
    if root != data.folder:
        return (
            f"{root} is read as a part of {data.group}.path={data.folder}, but has only one class, the folder "
            f"{abbreviate([name])}. Add class folders to it; if it is not a part, move or rename it; if it is a class, "
            "put its images directly into it."
        )
    return (
        f"{root} has only one class, the folder {abbreviate([name])}, but at least two are needed. "
        f"Perhaps you mean {data.group}.path={root / name}, or the folder above."
    )


def explain_no_images(scan: Scan) -> str:
    """Return what a folder has instead of class folders with images, and what to do."""
    files = sorted(path for path in scan.root.iterdir() if path.name != INDEX_FOLDER)
    names = [path.name for path in files]
    suffixes = {path.suffix.lower() for path in files}
    if suffixes & IMAGE_SUFFIXES or any(path.is_file() and starts_like_image(str(path)) for path in files[:100]):
        return f"its images are not in class folders. {advise_sorting(scan.root)}"
    if ".tar" in suffixes:
        return f"it has {abbreviate(names)}. Unpack that first or, if these are WebDataset shards, use data=shards."
    if suffixes & ARCHIVE_SUFFIXES:
        return f"it has {abbreviate(names)}. Unpack that first."
    left_out = scan.left_out.describe()
    return (
        f"it has {abbreviate(names)}. Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg, or *.parquet"
        + (f"; left out: {left_out}." if left_out else f"; read are {' '.join(sorted(READABLE_SUFFIXES))}.")
    )


def advise_sorting(root: Path) -> str:
    """Return how to read the labels or boxes beside images; if there are none, that these belong into class folders."""
    for folder in (root, root.parent):
        tables = find_tables(folder)
        if tables and (folder == root or TABLE_NAME.search(tables[0])):  # of a folder above only those of usual names
            return f"If {tables[0]} has their labels: data=table data.path={folder / tables[0]}."
        if boxes := advise_boxes(folder):
            return boxes
    return "Sort them into one folder per class: CLASS/*.jpg."


def advise_boxes(folder: Path) -> str:
    """Return how to read the boxes that annotation tools export beside images; an empty string if there are none."""
    if (folder / "data.yaml").is_file() or any(folder.glob("*/_annotations.coco.json")):
        return f"If boxes around objects are what to learn: data=coco data.path={folder}."
    return ""


def find_tables(root: Path) -> list[str]:
    """Return the names of the files in a folder that may list labels, those with a usual name first."""
    names = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    return sorted(names, key=lambda name: TABLE_NAME.search(name) is None)
