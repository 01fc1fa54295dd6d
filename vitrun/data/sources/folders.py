"""Images in class folders: a folder for each part, or one that is divided into both."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.class_names import find_classes
from vitrun.data.sources.folder_errors import (
    PART_NAMES,
    advise_boxes,
    check_classes_not_parts,
    check_parts_above_classes,
    explain_missing_part,
    explain_no_images,
    explain_one_class,
)
from vitrun.data.sources.messages import abbreviate, escape_name
from vitrun.data.sources.partition import ImageFile, choose_test_files, describe_partition
from vitrun.data.sources.scan import RUNS, Scan
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import read_regular_file


@dataclass(frozen=True)
class FolderLayout:
    """The folders of the training and the test part; both None if the class folders lie in ``data.path`` itself."""

    train: Path | None
    test: Path | None
    notes: tuple[str, ...] = ()


def open_folders(data: recipes.Files, part: str) -> Split:
    """Return a part of ``path/train/CLASS/*`` and ``path/test/CLASS/*``, or of ``path/CLASS/*``, divided by class.

    Raise UserError if the folders are not laid out like that.
    """
    layout = find_layout(data)
    location = ""
    if data.train is None:
        names, files, notes = list_class_folders(data, layout.test or data.folder)
    elif layout.train is None and layout.test is None:
        check_parts_above_classes(data)
        names, every, notes = list_class_folders(data, data.folder)
        test = choose_test_files(every, data.test_share, data.split_seed)
        files = [file for file in every if (file[0] in test) == (part != "train")]
        location = describe_partition(data, every, names, len(test))
    else:
        names, files, notes = list_part(data, part, layout)
    keys, paths, labels, sizes = zip(*files) if files else ((), (), (), ())
    return Split(
        [*keys],
        np.array(labels, dtype=np.int64),
        tuple(map(escape_name, names)),
        read_encoded=lambda index: read_regular_file(Path(paths[index])),
        sizes=np.array(sizes, dtype=np.int64),
        location=location,
        notes=(*layout.notes, *notes),
        named=True,
    )


def open_unsorted(data: recipes.Files) -> Split:
    """Return all images at any depth below the folder of the training part, else below ``path``; labels are -1.

    Raise UserError if there are none.
    """
    root = find_training_folder(data)
    scan = Scan(root.parent)
    files = [*scan.walk(root.name)]
    left_out = scan.left_out.describe()
    notes = (f"left out: {left_out}",) if left_out else ()
    if not files:
        raise folder_error(data, root, f"{'; '.join(('has no images', *notes))}. Give a folder with images.")
    keys = [escape_name(path.removeprefix(f"{root.name}/")) for path, _ in files]
    return Split(
        keys,
        np.full(len(files), -1, np.int64),
        (),
        read_encoded=lambda index: read_regular_file(root.parent / files[index][0]),
        sizes=np.array([size for _, size in files], dtype=np.int64),
        location=str(root),
        notes=notes,
    )


def find_training_folder(data: recipes.Files) -> Path:
    """Return the folder that ``data.train`` names, else the first of a usual name with images, else ``path``."""
    given, scan = data.train, Scan(data.folder)
    if given not in (None, recipes.AUTO):
        if (data.folder / given).is_dir():
            return data.folder / given
        if data.hub is None and given != "train":
            raise missing_folder_error(data, "train", given, scan.list_folders())
    with_images = {name.casefold(): name for name in scan.list_folders() if scan.has_images(name)}
    usual = next((name for name in PART_NAMES["train"] if name in with_images), None)
    return data.folder / with_images[usual] if usual else data.folder


def find_layout(data: recipes.Files) -> FolderLayout:
    """Return where the parts are; raise UserError if a folder that ``data.train`` or ``data.test`` names is missing."""
    scan = Scan(data.folder)
    names = scan.list_folders()
    train, test = (find_part(data, part, scan, names) for part in ("train", "test"))
    if train is None and test is None:
        return FolderLayout(None, None, check_classes_not_parts(data, scan, names) if data.train is not None else ())
    shown = dict.fromkeys(os.path.relpath(path, data.folder) for path in (train, test) if path)
    used = {path.split(os.sep)[0] for path in shown}
    unused = [name for name in names if name not in used]
    left_out = describe_left_out(scan, data.folder) if data.train is not None else ()
    if unused and data.train is not None:
        parts = [name for name in unused if name.casefold() in PART_NAMES["test"] and scan.has_class_folders(name)]
        hint = f" (to test on it: {data.group}.test={parts[0]})" if parts else ""
        folders = "folder is" if len(unused) == 1 else "folders are"
        note = f"beside {' and '.join(shown)}, {len(unused)} {folders} not read: {abbreviate(unused)}{hint}"
        return FolderLayout(train, test, (note, *left_out))
    return FolderLayout(train, test, left_out)


def find_part(data: recipes.Files, part: str, scan: Scan, names: Sequence[str]) -> Path | None:
    """Return the folder of a part: that which its option names, else the first of a usual name with class folders."""
    given = data.train if part == "train" else data.test
    if given is None:
        return None
    own = data.hub is None and data.train is not None  # not the name of a split on the Hub
    if given != recipes.AUTO and (data.folder / given).is_dir():
        if own or scan.has_class_folders(given):
            return data.folder / given
    elif own and given not in (recipes.AUTO, part):
        raise missing_folder_error(data, part, given, names)
    for usual in PART_NAMES[part]:
        for name in names:
            if name.casefold() == usual and scan.has_class_folders(name):
                return data.folder / name
    return None


def missing_folder_error(data: recipes.Files, part: str, given: str, names: Sequence[str]) -> UserError:
    """Return the error of a folder that ``data.train`` or ``data.test`` names and that is not there."""
    why = f"is not a folder in {data.folder}, which has {abbreviate(names)}."
    return UserError(why, ExitCode.DATA, f"{data.group}.{part}", given)


def list_part(
    data: recipes.Files, part: str, layout: FolderLayout
) -> tuple[Sequence[str], Sequence[ImageFile], Sequence[str]]:
    """Return the classes, which are those of the training images, the files of a part, and notes.

    Raise UserError if the part has no folder, or has other classes.
    """
    train, root = layout.train, layout.train if part == "train" else layout.test
    if root is None:
        raise UserError(explain_missing_part(data, part, layout.train or layout.test), ExitCode.DATA)
    if train is None or part == "train":
        return list_class_folders(data, root)
    names, scan = class_names(Scan(train)), Scan(root)
    folders = class_names(scan)
    labels = find_classes(names, folders)
    if labels.min(initial=0) < 0:
        unknown = [name for name, label in zip(folders, labels) if label < 0]
        raise UserError(
            f"{root} has classes that {train} does not have: {abbreviate(unknown)}. It has {abbreviate(names)}. "
            "Classes are matched by the names of their folders.",
            ExitCode.DATA,
        )
    files = list_images(data, scan, folders, labels.tolist())
    return names, files, (*describe_left_out(scan, data.folder), *describe_nesting(files))


def list_class_folders(data: recipes.Files, root: Path) -> tuple[Sequence[str], Sequence[ImageFile], Sequence[str]]:
    """Return classes, files and notes; raise UserError if there are fewer than two classes, or an empty one."""
    scan = Scan(root)
    names = class_names(scan)
    files = list_images(data, scan, names, range(len(names)))
    if len(names) == 1:
        raise UserError(explain_one_class(data, root, names[0]), ExitCode.DATA)
    used = {label for _, _, label, _ in files}
    empty = [name for label, name in enumerate(names) if label not in used]
    if empty:
        what = scan.left_out.describe()
        left_out = f" Left out: {what}." if what else ""
        way_out = advise_boxes(data.folder) or "Fill or remove them."
        why = f"has class folders without images: {abbreviate(empty)}. {way_out}{left_out}"
        raise folder_error(data, root, why)
    return names, files, (*describe_left_out(scan, data.folder), *describe_nesting(files))


def describe_left_out(scan: Scan, base: Path) -> tuple[str, ...]:
    """Return a note about what was left out in a folder below ``base``, or none."""
    what, where = scan.left_out.describe(), os.path.relpath(scan.root, base)
    return (f"left out{'' if where == '.' else f' in {where}'}: {what}",) if what else ()


def describe_nesting(files: Sequence[ImageFile]) -> tuple[str, ...]:
    """Return a note about images in folders inside of their class, or none."""
    deep = [key for key, *_ in files if key.count("/") > 1]
    if not deep:
        return ()
    count = f"{len(deep):,} of {len(files):,} images"
    return (f"in deeper folders: {count}, such as {abbreviate(deep[:1])}: the first folder is their class",)


def list_images(data: recipes.Files, scan: Scan, folders: Sequence[str], labels: Sequence[int]) -> list[ImageFile]:
    """Return the images in class folders, in the order of their labels; raise UserError if there are none at all."""
    files = [
        (escape_name(inside), f"{scan.root}/{inside}", label, size)
        for label, folder in sorted(zip(labels, folders))
        for inside, size in scan.walk(folder)
    ]
    if not files:
        raise folder_error(data, scan.root, f"has no class folders with images: {explain_no_images(scan)}")
    return files


def folder_error(data: recipes.Files, root: Path, why: str) -> UserError:
    """Return the error about the option that names a folder of images, or the folder of a part in it."""
    option = f"{data.group}.path"
    if root == data.folder:
        return UserError(why, ExitCode.DATA, option, str(data.path))
    return UserError(f"{root} {why}", ExitCode.DATA, option)


def class_names(scan: Scan) -> list[str]:
    """Return the names of class folders in order of the label: by name or, if all are numbers, by number.

    Folders that contain runs are omitted.
    """
    names = []
    for name in scan.list_folders():
        if any((scan.root / name).glob(f"*/{recipes.RECIPE_FILE}")):
            scan.left_out.add(RUNS, name)
        else:
            names.append(name)
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names
