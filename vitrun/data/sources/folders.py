"""Images in class folders: a folder for each part, or one that is split into both."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime import random

READABLE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif"}
# Formats that cannot be read are listed too, so that such images are an error and not left out silently.
IMAGE_SUFFIXES = READABLE_SUFFIXES | {".heic", ".heif", ".avif", ".jp2", ".jxl"}
ARCHIVE_SUFFIXES = {".zip", ".tar", ".tgz", ".gz", ".rar", ".7z"}
TEST_NAMES = ("test", "val", "validation")  # common names of the folder of test images
PART_NAME = re.compile(r"(train|test|val|valid)(ing|ation)?", re.IGNORECASE)  # not the name of a class
TEST_SHARE = 0.1  # of the images, if one folder is split into both parts

ImageFile = tuple[str, str, int, int]  # key, path, label and file size of an image


def open_folders(data: recipes.Files, part: str) -> Split:
    """Return a part of ``path/train/CLASS/*`` and ``path/test/CLASS/*``, or of ``path/CLASS/*``, a tenth for testing.

    Raise UserError if the folders are not laid out like that.
    """
    location = ""
    subfolders = {folder.name: folder for folder in list_subfolders(data.folder)}
    train = subfolders.get(data.train or "")
    tests = [subfolders[name] for name in (data.test, *TEST_NAMES) if name in subfolders]
    # The first with class folders: the folder ``test`` of ImageNet has none.
    test = next(filter(list_subfolders, tests), tests[0] if tests else None)
    if data.train is None:
        names, files = list_class_folders(data, test or data.folder)
    elif train is None and test is None:
        check_not_parts(data, list(subfolders))
        names, files = list_class_folders(data, data.folder)
        files = [file for file in files if is_test_file(file) == (part != "train")]
        location = f"{data.path}; a tenth of its images, chosen by a hash of their names, is for testing"
    else:
        names, files = list_part(data, part, train, test)
    keys, paths, labels, sizes = zip(*files) if files else ((), (), (), ())
    return Split(
        [*keys],
        np.array(labels, dtype=np.int64),
        tuple(map(escape_name, names)),
        read_encoded=lambda index: Path(paths[index]).read_bytes(),
        sizes=np.array(sizes, dtype=np.int64),
        location=location,
    )


def check_not_parts(data: recipes.Files, names: Sequence[str]) -> None:
    """Raise UserError if all folders are named like parts and none like a class."""
    if names and all(map(PART_NAME.fullmatch, names)):
        parts = {name: "train" if name.lower().startswith("train") else "test" for name in names}
        overrides = [f"{data.group}.{part}={name}" for name, part in parts.items()]
        raise UserError(
            f"{data.group}.path={data.path} has {abbreviate(names)}, which look like splits, not classes: add "
            f"{' '.join(overrides)}",
            ExitCode.DATA,
        )


def list_part(
    data: recipes.Files, part: str, train: Path | None, test: Path | None
) -> tuple[list[str], list[ImageFile]]:
    """Return the classes, which are those of the training images, and the files of a part with a folder of its own.

    Raise UserError if there is no such folder, or if it has other classes.
    """
    root = train if part == "train" else test
    if root is None:
        other = next(folder.name for folder in (train, test) if folder)
        name = data.train if part == "train" else " or ".join(dict.fromkeys((data.test, *TEST_NAMES)))
        raise UserError(
            f"{data.group}.path={data.path} has a folder {other}, but no folder of {part} images: name it {name}. "
            f"Or move the class folders out of {other}: a tenth of their images is then for testing.",
            ExitCode.DATA,
        )
    if train is None or part == "train":
        return list_class_folders(data, root)
    names = class_names(train)
    unknown = [name for name in class_names(root) if name not in names]
    if unknown:
        raise UserError(f"{root} has classes that {train} does not have: {abbreviate(unknown)}.", ExitCode.DATA)
    return names, list_images(root, names)


def list_class_folders(data: recipes.Files, root: Path) -> tuple[list[str], list[ImageFile]]:
    """Return the classes and files of a folder; raise UserError if it has fewer than two classes, or an empty one."""
    names = class_names(root)
    files = list_images(root, names)
    if len(names) == 1:
        raise UserError(
            f"{root} has only one class, the folder {names[0]}, but at least two are needed. "
            f"Perhaps you mean {data.group}.path={root / names[0]}, or the folder above.",
            ExitCode.DATA,
        )
    used = {label for _, _, label, _ in files}
    empty = [name for label, name in enumerate(names) if label not in used]
    if empty:
        raise UserError(
            f"{root} has class folders without images: {abbreviate(empty)}. Fill or remove them.", ExitCode.DATA
        )
    return names, files


def list_images(root: Path, names: Sequence[str]) -> list[ImageFile]:
    """Return the files of classes, some of which may have no folder; raise UserError if there are none at all."""
    files = scan_classes(root, names)
    if not files:
        raise UserError(f"{root} has no class folders with images: {explain_no_images(root)}", ExitCode.DATA)
    return files


def explain_no_images(root: Path) -> str:
    """Return what a folder has instead of class folders with images, and what to do."""
    names = sorted(path.name for path in root.iterdir())
    suffixes = {Path(name).suffix.lower() for name in names}
    if suffixes & IMAGE_SUFFIXES:
        return "its images are not in class folders. Sort them into one folder per class: CLASS/*.jpg."
    if ".tar" in suffixes:
        return f"it has {abbreviate(names)}. Unpack that first or, if these are WebDataset shards, use data=shards."
    if suffixes & ARCHIVE_SUFFIXES:
        return f"it has {abbreviate(names)}. Unpack that first."
    return (
        f"it has {abbreviate(names)}. Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg, or *.parquet; "
        f"the suffixes of images are {', '.join(sorted(READABLE_SUFFIXES))}."
    )


def list_subfolders(root: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def class_names(root: Path) -> list[str]:
    """Return the names of class folders in order of the label: by name or, if all are numbers, by number.

    Folders that contain runs are omitted.
    """
    names = [folder.name for folder in list_subfolders(root) if not has_runs(folder)]
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def has_runs(folder: Path) -> bool:
    """Return whether a folder contains the folders of runs."""
    return any(folder.glob(f"*/{recipes.RECIPE_FILE}"))


def scan_classes(root: Path, names: Sequence[str]) -> list[ImageFile]:
    """Return every image below ``root/CLASS``, in order of class and name, without hidden files."""
    existing = set(os.listdir(root))
    return [
        (escape_name(f"{name}/{inside}"), f"{root}/{name}/{inside}", label, size)
        for label, name in enumerate(names)
        if name in existing
        for inside, size in walk_images(f"{root}/{name}")
    ]


def walk_images(folder: str) -> Iterator[tuple[str, int]]:
    """Yield the path in ``folder`` and the size of every image below it, in order; scandir is fast for millions."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        name = entry.name
        if is_folder(entry):
            yield from ((f"{name}/{inside}", size) for inside, size in walk_images(f"{folder}/{name}"))
        elif os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith("."):
            yield name, file_size(entry)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one that does not contain the link (an endless loop)."""
    if not entry.is_symlink():
        return entry.is_dir()
    parent, target = (f"{os.path.realpath(path)}{os.sep}" for path in (os.path.dirname(entry.path), entry.path))
    return os.path.isdir(entry.path) and not parent.startswith(target)


def file_size(entry: os.DirEntry[str]) -> int:
    """Return the size of a file; -1 for a broken link, which is an error when the image is read."""
    try:
        return entry.stat().st_size
    except OSError:
        return -1


def escape_name(name: str) -> str:
    """Return the name of a file for printing and hashing: bytes that are not UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_test_file(file: ImageFile) -> bool:
    """Return whether an image is in the tenth for testing; this depends on its name alone."""
    return random.derive_seed(0, "folder-split", random.derive_seed(0, file[0])) % 1000 < 1000 * TEST_SHARE
