"""Images in folders with a folder a class: of each part, or of one folder that serves both."""

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
IMAGE_SUFFIXES = READABLE_SUFFIXES | {
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".jxl",
}  # those that cannot be read are not to go unseen
ARCHIVE_SUFFIXES = {".zip", ".tar", ".tgz", ".gz", ".rar", ".7z"}
TEST_NAMES = ("test", "val", "validation")  # what people call the folder of images that are not trained on
PART_NAME = re.compile(r"(train|test|val|valid)(ing|ation)?", re.IGNORECASE)  # a name that no class has
TEST_SHARE = 0.1  # of the files, where one folder has to serve both parts

ImageFile = tuple[str, str, int, int]  # key, path, label and bytes of an image


def open_folders(data: recipes.Files, part: str) -> Split:
    """``path/train/CLASS/*`` and ``path/test/CLASS/*``; or ``path/CLASS/*``, a tenth of it for testing."""
    where = ""
    inside = {folder.name: folder for folder in list_subfolders(data.path)}
    train = inside.get(data.train)
    tests = [inside[name] for name in (data.test, *TEST_NAMES) if name in inside]
    test = next(
        filter(list_subfolders, tests), tests[0] if tests else None
    )  # ImageNet's own test images have no classes
    if data.train is None:
        names, files = list_class_folders(data, test or data.path)
    elif train is None and test is None:
        check_not_parts(data, list(inside))
        names, files = list_class_folders(data, data.path)
        files = [file for file in files if is_test_file(file) == (part != "train")]
        where = f"{data.path}, of whose images a tenth, by a hash of their names, is for testing"
    else:
        names, files = list_part(data, part, train, test)
    keys, paths, labels, sizes = zip(*files) if files else ((), (), (), ())
    return Split(
        [*keys],
        np.array(labels, dtype=np.int64),
        tuple(map(escape_name, names)),
        read_encoded=lambda index: Path(paths[index]).read_bytes(),
        sizes=np.array(sizes, dtype=np.int64),
        location=where,
    )


def check_not_parts(data: recipes.Files, names: Sequence[str]) -> None:
    """A UserError where all folders are called as parts are, and none as a class."""
    if names and all(map(PART_NAME.fullmatch, names)):
        parts = {name: "train" if name.lower().startswith("train") else "test" for name in names}
        overrides = [f"{data.group}.{part}={name}" for name, part in parts.items()]
        raise UserError(
            f"{data.group}.path={data.path} has {abbreviate(names)}, which are parts and no classes: add {' '.join(overrides)}",
            ExitCode.DATA,
        )


def list_part(
    data: recipes.Files, part: str, train: Path | None, test: Path | None
) -> tuple[list[str], list[ImageFile]]:
    """The classes and files of a part that has a folder of its own; the classes are those of the training images."""
    root = train if part == "train" else test
    if root is None:
        wanted = data.train if part == "train" else " or ".join(dict.fromkeys((data.test, *TEST_NAMES)))
        raise UserError(
            f"{data.group}.path={data.path} has a folder {(train or test).name}, but none of the {part} images: it should be "
            f"called {wanted}. Or take the class folders out of {(train or test).name}: a tenth is then for testing.",
            ExitCode.DATA,
        )
    if train is None or part == "train":
        return list_class_folders(data, root)
    names = class_names(train)
    others = [name for name in class_names(root) if name not in names]
    if others:
        raise UserError(f"{root} has classes that {train} has not: {abbreviate(others)}.", ExitCode.DATA)
    return names, list_images(root, names)


def list_class_folders(data: recipes.Files, root: Path) -> tuple[list[str], list[ImageFile]]:
    """The classes and files of a folder; a UserError where it is not a folder a class."""
    names = class_names(root)
    files = list_images(root, names)
    if len(names) == 1:
        raise UserError(
            f"{root} has one class only, the folder {names[0]}: there should be two or more to tell apart. "
            f"Perhaps {data.group}.path={root / names[0]} is meant, or the folder above.",
            ExitCode.DATA,
        )
    full = {label for _, _, label, _ in files}
    empty = [name for label, name in enumerate(names) if label not in full]
    if empty:
        raise UserError(
            f"{root} has class folders without an image: {abbreviate(empty)}. Fill or remove them.", ExitCode.DATA
        )
    return names, files


def list_images(root: Path, names: Sequence[str]) -> list[ImageFile]:
    """The files of a folder's classes, of which some may have no folder; a UserError where there are none at all."""
    files = scan_classes(root, names)
    if not files:
        raise UserError(f"{root} has no class folders with images: {explain_no_images(root)}", ExitCode.DATA)
    return files


def explain_no_images(root: Path) -> str:
    """What a folder has instead of class folders with images, and what to do."""
    names = sorted(path.name for path in root.iterdir())
    suffixes = {Path(name).suffix.lower() for name in names}
    if suffixes & IMAGE_SUFFIXES:
        return "its images lie in it without one. Sort them into a folder a class: CLASS/*.jpg."
    if ".tar" in suffixes:
        return f"it has {abbreviate(names)}. Unpack that first, or where they are web shards use data=shards."
    if suffixes & ARCHIVE_SUFFIXES:
        return f"it has {abbreviate(names)}. Unpack that first."
    return (
        f"it has {abbreviate(names)}. Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg, or *.parquet; "
        f"images end in {', '.join(sorted(READABLE_SUFFIXES))}."
    )


def list_subfolders(root: Path) -> list[Path]:
    """The folders in a folder by name, hidden ones left out."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def class_names(root: Path) -> list[str]:
    """The class folders in order of the label: by name, or as numbers where all are; a folder of runs is none."""
    names = [folder.name for folder in list_subfolders(root) if not has_runs(folder)]
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def has_runs(folder: Path) -> bool:
    """Return whether a folder contains the folders of runs."""
    return any(folder.glob(f"*/{recipes.RECIPE_FILE}"))


def scan_classes(root: Path, names: Sequence[str]) -> list[ImageFile]:
    """Every image below ``root/CLASS``, in order of class and name; files that begin with a dot are none."""
    there = set(os.listdir(root))
    return [
        (escape_name(f"{name}/{inside}"), f"{root}/{name}/{inside}", label, size)
        for label, name in enumerate(names)
        if name in there
        for inside, size in walk_images(f"{root}/{name}")
    ]


def walk_images(folder: str) -> Iterator[tuple[str, int]]:
    """Every image below a folder by its path from there, in order, and its bytes; by scandir: there may be millions."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = entry.name
        if is_folder(entry):
            yield from ((f"{name}/{inside}", size) for inside, size in walk_images(f"{folder}/{name}"))
        elif os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith("."):
            yield name, file_size(entry)


def is_folder(entry: os.DirEntry) -> bool:
    """Whether it is a folder, or a link to one that does not hold it, for that would never end."""
    if not entry.is_symlink():
        return entry.is_dir()
    here, there = (f"{os.path.realpath(path)}{os.sep}" for path in (os.path.dirname(entry.path), entry.path))
    return os.path.isdir(entry.path) and not here.startswith(there)


def file_size(entry: os.DirEntry) -> int:
    """The bytes of a file; -1 where a link leads nowhere, which is told when the image is read."""
    try:
        return entry.stat().st_size
    except OSError:
        return -1


def escape_name(name: str) -> str:
    """A name of a file as it can be shown and hashed: bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_test_file(file: ImageFile) -> bool:
    """Whether an image is in the tenth that is not trained on: decided by its name, whatever else is in the folder."""
    return random.derive_seed(0, "folder-split", random.derive_seed(0, file[0])) % 1000 < 1000 * TEST_SHARE
