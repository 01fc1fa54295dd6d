"""Read and check COCO's JSON of images, annotations and categories, without outlines."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrun.data.boxes import BoxTable
from vitrun.data.sources.coco.entries import (
    WAY_OUT,
    BoxEntries,
    Category,
    Id,
    Image,
    Problem,
    read_category,
    read_image,
    show,
)
from vitrun.data.sources.coco.json_stream import JsonStream
from vitrun.data.sources.messages import abbreviate, single_line
from vitrun.errors import ExitCode, UserError

PARTS = ("images", "annotations", "categories")
UNREAD = ("segmentation", "keypoints", "caption")  # of an annotation: dropped while parsing, as they take memory
TICK_EVERY = 10_000  # entries


@dataclass(frozen=True)
class Annotations:
    """Images with their boxes, and the names of the classes, ordered by id."""

    files: list[str]  # [N] names of the images' files
    classes: tuple[str, ...]
    table: BoxTable


@dataclass
class Lists:
    """Lists that have been read from a file so far."""

    images: list[Image] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    boxes: BoxEntries = field(default_factory=BoxEntries)
    keys: list[str] = field(default_factory=list)  # of the object in the file
    read: list[str] = field(default_factory=list)  # those of PARTS that are lists
    problem: Problem | None = None  # the first wrong entry

    def add(self, key: str, place: int, entry: Any) -> None:
        """Add an entry of the list ``key``; after the first wrong one, none."""
        if self.problem is not None:
            return
        try:
            if key == "images":
                self.images.append(read_image(place, entry))
            elif key == "categories":
                self.categories.append(read_category(place, entry))
            else:
                self.boxes.add(place, entry)
        except Problem as problem:
            self.problem = problem


def read_annotations(file: Path, tick: Callable[[], None] = lambda: None) -> Annotations:
    """Return the content of a file. Raise a UserError if it is not COCO's, or has a wrong entry."""
    try:
        return check_lists(read_lists(file, tick))
    except Problem as problem:
        raise UserError(f"{file} {problem}", ExitCode.DATA) from None
    except ValueError as error:
        why = f"is not JSON ({single_line(str(error))}). It may be cut off, or of another kind: export it again."
        raise UserError(f"{file} {why}", ExitCode.DATA) from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}. Make it readable.", ExitCode.DATA) from None


def read_lists(file: Path, tick: Callable[[], None]) -> Lists:
    """Return the lists in a JSON file, without outlines; raise a Problem or a ValueError if it is not COCO's."""

    def drop_outlines(entry: dict[str, Any]) -> dict[str, Any]:
        for key in UNREAD:
            entry.pop(key, None)
        return entry

    if not file.is_file():  # reading a pipe would wait
        raise Problem("is not a regular file: give a JSON of images, annotations and categories.")
    lists = Lists()
    with open(file, "rb") as content:
        if content.read(35).startswith(b"version https://git-lfs"):
            raise Problem("is a pointer of Git LFS and not the annotations: fetch them with git lfs pull.")
        content.seek(0)
        stream = JsonStream(content, drop_outlines)
        if stream.peek() != "{":
            raise Problem(describe_other(stream))
        for key in stream.read_keys():
            if key in lists.keys:
                raise Problem(f"has two values for {show(key)}: remove one.")
            lists.keys.append(key)
            if stream.peek() != "[":
                stream.read_value()
                continue
            lists.read += [key] * (key in PARTS)
            for place, entry in enumerate(stream.read_items()):
                if place % TICK_EVERY == 0:
                    tick()
                if key in PARTS:
                    lists.add(key, place, entry)
    return lists


def describe_other(stream: JsonStream) -> str:
    """Return the error for a file whose top level is not an object."""
    if not stream.peek():
        return "is empty: export or download it again."
    is_list = stream.peek() == "["
    value = next(stream.read_items(), None) if is_list else stream.read_value()
    if is_list and isinstance(value, dict) and "score" in value:
        return "is a list of detections, which a program has found, and not the annotations: give their file."
    kind = "list" if is_list else "single value"
    return f"is not a file of COCO: it is a {kind}, not an object with {', '.join(PARTS)}."


def check_lists(lists: Lists) -> Annotations:
    """Return the images and boxes of COCO's lists; raise a Problem about the first wrong entry."""
    if missing := [key for key in PARTS if key not in lists.read]:
        keys = abbreviate(lists.keys) if lists.keys else "nothing"
        raise Problem(f"is not a file of boxes as COCO's instances_*.json: it has {keys}, but no list of {missing[0]}.")
    if lists.problem is not None:
        raise lists.problem
    if not lists.images:
        raise Problem("lists no images.")
    if not lists.categories:
        raise Problem("has no categories: list the classes of its boxes.")
    if not lists.boxes.ids:
        raise Problem("has no annotations: none of its images has a box.")
    for what, ids in (("image", lists.images), ("category", lists.categories)):
        if (repeated := find_repeated(entry.id for entry in ids)) is not None:
            raise Problem(f"has two entries for {what} {show(repeated)}: ids must differ. {WAY_OUT}.")
    if (number := find_repeated(number for number in lists.boxes.ids if number is not None)) is not None:
        raise Problem(f"has two annotations with the id {show(number)}: ids must differ. {WAY_OUT}.")
    if len({type(image.id) for image in lists.images}) > 1:
        raise Problem("mixes numbers and texts as ids of its images: use one of them.")
    if repeated := find_repeated(image.file for image in lists.images):
        raise Problem(f"has two images with the file_name {show(repeated)}: join them into one.")
    categories = leave_out_groups(sorted(lists.categories), lists.boxes)
    classes = [category.name for category in categories]
    if repeated := find_repeated(classes):
        raise Problem(f"has two categories named {show(repeated)}: rename one.")
    return Annotations(
        [image.file for image in lists.images],
        tuple(map(single_line, classes)),
        make_table(lists.images, categories, lists.boxes),
    )


def leave_out_groups(categories: list[Category], boxes: BoxEntries) -> list[Category]:
    """Return the categories without those of Roboflow that only name the group of others, and that no box is of."""
    groups = {category.group for category in categories}
    idle = {category.id for category in categories if category.group == "none" and category.name in groups}
    idle -= set(boxes.categories) if idle else set()
    return [category for category in categories if category.id not in idle]


def find_repeated(values: Iterable[Id | str | None]) -> Id | str | None:
    """Return the first value that occurs again, None if there is none."""
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def make_table(images: list[Image], categories: list[Category], entries: BoxEntries) -> BoxTable:
    """Return the boxes ordered by image; raise a Problem about the first of an unknown image or category."""
    image = entries.find(entries.images, {one.id: row for row, one in enumerate(images)}, "image")
    label = entries.find(entries.categories, {one.id: row for row, one in enumerate(categories)}, "category")
    boxes = np.frombuffer(entries.boxes).reshape(-1, 4)
    order = np.argsort(image, kind="stable")
    return BoxTable(
        starts=np.searchsorted(image[order], np.arange(len(images) + 1)),
        corners=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)[order],
        labels=label[order],
        crowd=np.frombuffer(entries.crowds, bool)[order],
        areas=np.frombuffer(entries.areas)[order],
        sizes=np.array([(one.height, one.width) for one in images], np.int64),
        image_ids=np.array([one.id for one in images]),
        category_ids=np.array([one.id for one in categories]),
    )
