"""Opening a part of a set of images with boxes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sources.coco.annotations import Annotations
from vitrun.data.sources.coco.cached import load_annotations
from vitrun.data.sources.coco.image_paths import choose_folder, find_images, list_folders
from vitrun.data.sources.coco.yolo import find_description, label_file, read_yolo
from vitrun.data.sources.folder_errors import PART_NAMES
from vitrun.data.sources.local_files import check_image_count
from vitrun.data.sources.messages import abbreviate, escape_name
from vitrun.data.sources.named_files import check_places, explain_missing, measure_file
from vitrun.data.sources.partition import divide_split
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen
from vitrun.runtime.files import read_regular_file

INSTANCES = "instances"  # first part of the names of COCO's files of boxes; others are of captions and keypoints


def open_coco(data: recipes.Coco, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of the images that a JSON of COCO lists. Raise UserError if there is no JSON file, or no image."""
    if description := find_description(data.folder):
        listed, paths, is_whole = read_yolo(data, description, part, tick)
        check_places(data, description, map(label_file, paths))
        split = make_split(data, description, listed, paths, [*map(measure_file, paths)], str(description))
    else:
        file, is_whole = find_file(data, part)
        split = open_file(data, file, tick)
    if is_whole and data.train is not None:
        split = divide_split(data, split, part)
    check_image_count(data, part, len(split))
    check_has_objects(split, part)
    return replace(split, notes=(*split.notes, *describe_boxes(split)))


def open_file(data: recipes.Coco, file: Path, tick: Callable[[], None]) -> Split:
    """Return all images of a JSON; those without a file are unusable."""
    listed = load_annotations(file, tick)
    root = data.folder if data.folder.is_dir() else data.folder.parent
    folder = data.images or choose_folder(list_folders(file, root), listed.files)
    paths, sizes = find_images(folder, listed.files)
    if max(sizes) < 0:
        raise UserError(explain_no_images(data, file, folder, listed), ExitCode.DATA)
    return make_split(data, file, listed, paths, sizes, f"{file}, images in {folder}")


def make_split(
    data: recipes.Coco, source: Path, listed: Annotations, paths: Sequence[str], sizes: Sequence[int], location: str
) -> Split:
    """Return the split of images that ``source`` names, at ``paths``; one of size -1 is missing and cannot be used."""
    check_places(data, source, (path for path, size in zip(paths, sizes) if size >= 0))
    return Split(
        [*map(escape_name, listed.files)],
        listed.table.image_labels(),
        listed.classes,
        read_encoded=lambda index: read_regular_file(Path(paths[index])),
        sizes=np.array(sizes, np.int64),
        location=location,
        named=True,
        exif=data.exif,
        boxes=listed.table,
        unusable={row: explain_missing(source) for row, size in enumerate(sizes) if size < 0},
    )


def find_file(data: recipes.Coco, part: str) -> tuple[Path, bool]:
    """Return the JSON of a part, and whether it lists the images of both parts. Raise UserError if there is none."""
    given = data.train if part == "train" else data.test
    if data.folder.is_file():
        return data.folder, True
    if given not in (None, recipes.AUTO):
        if not (data.folder / given).is_file():
            present = abbreviate([str(file.relative_to(data.folder)) for file in list_files(data.folder)])
            why = f"is not a file in {data.folder}, which has {present}."
            raise UserError(why, ExitCode.DATA, f"{data.group}.{part}", given)
        return data.folder / given, data.train == data.test
    files = list_files(data.folder)
    if not files:
        raise UserError(
            f"{data.group}.path={data.folder} has no .json: give a folder with annotations/instances_train2017.json, "
            "with train.json and val.json, with one file, or with data.yaml, images and labels as of YOLO.",
            ExitCode.DATA,
        )
    of_part = select_part(files, data.folder, part)
    if not of_part and len(files) == 1 and not select_part(files, data.folder, "test" if part == "train" else "train"):
        return files[0], True
    if len(of_part) != 1:
        names = abbreviate([str(file.relative_to(data.folder)) for file in of_part or files])
        why = "several files" if of_part else "no file"
        raise UserError(
            f"{data.group}.path={data.folder} has {why} named as a {part} part: {names}. Add {data.group}.{part}=FILE.",
            ExitCode.DATA,
        )
    return of_part[0], False


def list_files(folder: Path) -> list[Path]:
    """Return the JSON files in a folder and in the folders in it, those of boxes alone if they are named so."""
    files = sorted(file for pattern in ("*.json", "*/*.json") for file in folder.glob(pattern) if file.name[0] != ".")
    return [file for file in files if file.name.startswith(INSTANCES)] or files


def select_part(files: Sequence[Path], root: Path, part: str) -> list[Path]:
    """Return the files with a usual name of a part in their name, or else in that of their folder.

    Of several usual names the first that is there counts.
    """
    for name in PART_NAMES[part]:
        for get_text in (lambda file: file.stem, lambda file: str(file.parent.relative_to(root))):
            words = [(file, re.split(r"[^a-z]+", get_text(file).casefold())) for file in files]
            if of_part := [file for file, parts in words if name in parts]:
                return of_part
    return []


def check_has_objects(split: Split, part: str) -> None:
    """Raise UserError if there is nothing to find in any image of a part."""
    assert split.boxes is not None
    if len(split) and split.boxes.crowd.all():
        why = "all of its boxes are crowds, which are neither trained on nor counted" if len(split.boxes.crowd) else ""
        raise UserError(
            f"None of the {len(split):,} {part} images ({split.location}) has a box{': ' * bool(why)}{why}. Give "
            "annotations with boxes, or another share for testing.",
            ExitCode.DATA,
        )


def explain_no_images(data: recipes.Coco, file: Path, folder: Path, listed: Annotations) -> str:
    """Return the message of an error: no image is there."""
    return (
        f"None of the {len(listed.files):,} images of {file} is in {folder}, such as {escape_name(listed.files[0])}: "
        f"add {data.group}.images=FOLDER, the folder that their names start from."
    )


def describe_boxes(split: Split) -> tuple[str, ...]:
    """Return notes on how many boxes there are, and on images that are not there."""
    assert split.boxes is not None
    counts = np.diff(split.boxes.starts)
    crowds, empty = int(split.boxes.crowd.sum()), int((counts == 0).sum())
    more = f", {crowds:,} of them crowds" * bool(crowds) + f"; {empty:,} images have none" * bool(empty)
    notes = [f"boxes: {counts.sum():,} in {len(split):,} images, up to {counts.max()} each{more}"]
    if split.unusable:
        names = abbreviate([split.keys[row] for row in split.unusable], 2)
        notes.append(f"{len(split.unusable):,} of {len(split):,} images are not there: {names}")
    return tuple(notes)
