"""Read and check COCO's JSON of images, annotations and categories, without outlines."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vitrun.data.boxes import BoxTable
from vitrun.data.sources.messages import abbreviate, shorten, single_line
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import MAX_BYTES, read_regular_file

PARTS = ("images", "annotations", "categories")
UNREAD = ("segmentation", "keypoints", "caption")  # of an annotation: dropped while parsing, as they take memory
WAY_OUT = "Correct it, or remove the entry"


@dataclass(frozen=True)
class Annotations:
    """Images with their boxes, and the names of the classes, ordered by id."""

    files: list[str]  # [N] names of the images' files
    classes: tuple[str, ...]
    table: BoxTable


class Problem(Exception):
    """Error in a file; its message follows the file's name."""


def read_annotations(file: Path) -> Annotations:
    """Return the content of a file. Raise a UserError if it is not COCO's, or has a wrong entry."""
    try:
        return check_tree(parse_tree(file))
    except Problem as problem:
        raise UserError(f"{file} {problem}", ExitCode.DATA) from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}. Make it readable.", ExitCode.DATA) from None


def parse_tree(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file, without outlines; raise a Problem if it is not COCO's."""

    def drop_outlines(entry: dict[str, Any]) -> dict[str, Any]:
        for key in UNREAD:
            entry.pop(key, None)
        return entry

    try:
        content = read_regular_file(file, 4 * MAX_BYTES)
        if content.startswith(b"version https://git-lfs"):
            raise Problem("is a pointer of Git LFS and not the annotations: fetch them with git lfs pull.")
        tree = json.loads(content.decode("utf-8-sig"), object_hook=drop_outlines)
    except RecursionError:
        raise Problem("is no file of COCO: it is nested too deeply.") from None
    except ValueError as error:
        why = single_line(str(error).splitlines()[0])
        raise Problem(f"is no JSON ({why}): it may be cut off. Export or download it again.") from None
    if not isinstance(tree, dict):
        raise Problem(f"is no file of COCO: it is a {type(tree).__name__}, not an object with {', '.join(PARTS)}.")
    missing = [key for key in PARTS if not isinstance(tree.get(key), list)]
    if missing:
        keys = abbreviate([*tree]) if tree else "nothing"
        raise Problem(f"is no file of boxes as COCO's instances_*.json: it has {keys}, but no list of {missing[0]}.")
    return tree


def check_tree(tree: Mapping[str, Any]) -> Annotations:
    """Return the images and boxes of COCO's object; raise a Problem about the first wrong entry."""
    categories = sorted(read_ids(tree["categories"], "category"), key=lambda pair: pair[0])
    classes = [read_name(entry, "name", "category") for _, entry in categories]
    if not classes:
        raise Problem("has no categories: list the classes of its boxes.")
    if repeated := find_repeated(classes):
        raise Problem(f"has two categories named {shorten(repeated)}: rename one.")
    images = read_ids(tree["images"], "image")
    if not images:
        raise Problem("lists no images.")
    rows = {number: row for row, (number, _) in enumerate(images)}
    labels = {number: label for label, (number, _) in enumerate(categories)}
    boxes = read_boxes(tree["annotations"], rows, labels)
    if not len(boxes.image):
        raise Problem("has no annotations: none of its images has a box.")
    order = np.argsort(boxes.image, kind="stable")
    table = BoxTable(
        starts=np.searchsorted(boxes.image[order], np.arange(len(images) + 1)),
        corners=boxes.corners[order],
        labels=boxes.label[order],
        crowd=boxes.crowd[order],
        areas=boxes.area[order],
        sizes=np.array([read_size(number, entry) for number, entry in images], np.int64),
        image_ids=np.array([number for number, _ in images]),
        category_ids=np.array([number for number, _ in categories]),
    )
    files = [read_name(entry, "file_name", "image") for _, entry in images]
    return Annotations(files, tuple(map(single_line, classes)), table)


def read_ids(entries: Sequence[Any], what: str) -> list[tuple[int | str, Mapping[str, Any]]]:
    """Return entries with their ids; raise a Problem if one has none, or two have the same."""
    result: list[tuple[int | str, Mapping[str, Any]]] = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int | str):
            raise Problem(f"has as {what} {place + 1} of its list {shorten(str(entry))}, without an id. {WAY_OUT}.")
        result.append((entry["id"], entry))
    if (repeated := find_repeated([number for number, _ in result])) is not None:
        raise Problem(f"has two entries for {what} {repeated}: ids must differ. {WAY_OUT}.")
    if len({isinstance(number, str) for number, _ in result}) > 1:
        raise Problem(f"mixes numbers and texts as ids of its {what} entries: use one of them.")
    return result


def find_repeated(values: Iterable[Any]) -> Any:
    """Return the first value that occurs again, None if there is none."""
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def read_name(entry: Mapping[str, Any], key: str, what: str) -> str:
    """Return a text of an entry; raise a Problem if there is none."""
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise Problem(f"has no {key} for {what} {entry['id']}, but {shorten(str(value))}. {WAY_OUT}.")
    return value


def read_size(number: int | str, entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of an image; raise a Problem if one is not a positive integer."""
    sides = entry.get("height"), entry.get("width")
    if not all(isinstance(side, int | float) and 0 < side < 2**20 and side == int(side) for side in sides):
        raise Problem(f"has width {sides[1]} and height {sides[0]} for image {number}: give its pixels. {WAY_OUT}.")
    return int(sides[0] or 0), int(sides[1] or 0)


@dataclass(frozen=True)
class BoxColumns:
    """Row of the image, corners, label, crowd and area of each of T boxes."""

    image: np.ndarray
    corners: np.ndarray
    label: np.ndarray
    crowd: np.ndarray
    area: np.ndarray


def read_boxes(entries: Sequence[Any], rows: Mapping[int | str, int], labels: Mapping[int | str, int]) -> BoxColumns:
    """Return the boxes of annotations; ``rows`` are those of images by id, ``labels`` those of categories by id.

    Raise a Problem about the first annotation with another id or a wrong box.
    """
    image, label = np.empty(len(entries), np.int64), np.empty(len(entries), np.int64)
    boxes, area = np.empty((len(entries), 4)), np.full(len(entries), math.nan)
    crowd, ids = np.zeros(len(entries), bool), set()
    for place, entry in enumerate(entries):
        try:
            image[place], label[place] = rows[entry["image_id"]], labels[entry["category_id"]]
            left, top, width, height = entry["bbox"]
            boxes[place] = left, top, width, height
            area[place] = entry.get("area", math.nan)
            crowd[place] = bool(entry.get("iscrowd"))
            ids.add(entry.get("id", place))
        except (KeyError, TypeError, ValueError):
            explain_annotation(place, entry, rows, labels)
    if len(ids) < len(entries):
        number = find_repeated([entry.get("id", place) for place, entry in enumerate(entries)])
        raise Problem(f"has two annotations with the id {number}: ids must differ. {WAY_OUT}.")
    wrong = ~np.isfinite(boxes).all(1) | (boxes[:, 2:] < 0).any(1)
    if wrong.any():
        explain_annotation(place := int(wrong.argmax()), entries[place], rows, labels)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return BoxColumns(image, corners, label, crowd, np.where(np.isnan(area), boxes[:, 2:].prod(1), area))


def explain_annotation(
    place: int, entry: Any, rows: Mapping[int | str, int], labels: Mapping[int | str, int]
) -> NoReturn:
    """Raise the Problem of an annotation that cannot be read."""
    if not isinstance(entry, dict):
        raise Problem(f"has {shorten(str(entry))} as annotation {place + 1} of its list, not an object. {WAY_OUT}.")
    name = f"annotation {entry['id']}" if "id" in entry else f"annotation {place + 1} of its list"
    for key, known, what in (("image_id", rows, "image"), ("category_id", labels, "category")):
        value = entry.get(key)
        if not isinstance(value, int | str) or value not in known:
            raise Problem(f"has no {what} {shorten(str(value))}, which {name} is of. {WAY_OUT}.")
    box = entry.get("bbox")
    raise Problem(
        f"has as bbox of {name} {shorten(str(box))}: it must be left, top, width and height in pixels, four finite "
        f"numbers of which the last two are not negative. {WAY_OUT}."
    )
