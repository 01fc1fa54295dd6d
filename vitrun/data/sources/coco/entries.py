"""Entries of the lists in COCO's JSON, each checked as it is read."""

import math
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from vitrun.data.sources.messages import shorten, single_line

Id = int | str
ID_TYPES = {int, str, float}  # of ids that annotations name; 17.0 is 17
WAY_OUT = "Correct it, or remove the entry"
MOST_PIXELS = 10**9  # of a coordinate; also the largest that pycocotools takes
MOST_SIDE = 2**20  # pixels of an image


def show(value: Any) -> str:
    """Return a value of the file as messages show it, short and in one line."""
    return shorten(single_line(str(value)))


class Problem(Exception):
    """Error in a file; its message follows the file's name."""


class Image(NamedTuple):
    """An entry of ``images``."""

    id: Id
    file: str
    height: int
    width: int


class Category(NamedTuple):
    """An entry of ``categories``."""

    id: int
    name: str
    group: str  # its supercategory


def read_id(place: int, entry: Any, what: str) -> Id:
    """Return the id of an entry; raise a Problem if it has none."""
    value = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise Problem(f"has as {what} {place + 1} of its list {show(entry)}, without an id. {WAY_OUT}.")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise Problem(
            f"has {show(value)} as id of {what} {place + 1} of its list: a number below 2 to the power of 63 is needed."
        )
    return value


def read_image(place: int, entry: Any) -> Image:
    """Return an image; raise a Problem if something is missing or wrong."""
    number = read_id(place, entry, "image")
    file = read_name(entry, "file_name", "image")
    try:
        os.fsencode(file)
    except UnicodeEncodeError:
        raise Problem(
            f"has {show(file)} as file_name of image {show(number)}, which no file is called. {WAY_OUT}."
        ) from None
    sides = entry.get("height"), entry.get("width")
    if not all(type(side) in (int, float) and 0 < side < MOST_SIDE and side == int(side) for side in sides):
        width, height = (show(repr(side)) for side in sides[::-1])
        raise Problem(f"has width {width} and height {height} for image {number}: give its pixels. {WAY_OUT}.")
    return Image(number, file, int(sides[0] or 0), int(sides[1] or 0))


def read_category(place: int, entry: Any) -> Category:
    """Return a category; raise a Problem if something is missing or wrong."""
    number = read_id(place, entry, "category")
    if isinstance(number, str):
        raise Problem(f"has the text {show(repr(number))} as id of a category: number the categories.")
    return Category(number, read_name(entry, "name", "category"), str(entry.get("supercategory")))


def read_name(entry: Mapping[str, Any], key: str, what: str) -> str:
    """Return a text of an entry; raise a Problem if there is none."""
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        name, text = show(entry["id"]), show(repr(value))
        raise Problem(f"has no {key} for {what} {name}, but {text}. {WAY_OUT}.")
    return value


@dataclass
class BoxEntries:
    """The entries of ``annotations``, T in all, as columns."""

    images: list[Id] = field(default_factory=list)  # ids
    categories: list[Id] = field(default_factory=list)  # ids
    ids: list[Id | None] = field(default_factory=list)  # their own
    boxes: "array[float]" = field(default_factory=lambda: array("d"))  # left, top, width and height of each
    areas: "array[float]" = field(default_factory=lambda: array("d"))
    crowds: bytearray = field(default_factory=bytearray)

    def add(self, place: int, entry: Any) -> None:
        """Append an annotation; raise a Problem if something is missing or wrong."""
        try:
            image, category, box = entry["image_id"], entry["category_id"], entry["bbox"]
            left, top, width, height = box
            own, area, crowd = entry.get("id"), entry.get("area"), entry.get("iscrowd")
            area, crowd = width * height if area is None else area, 0 if crowd is None else crowd
            is_right = (
                {bool, str}.isdisjoint(map(type, (*box, area)))
                and 0 <= width < MOST_PIXELS
                and 0 <= height < MOST_PIXELS
                and -MOST_PIXELS < left < MOST_PIXELS
                and -MOST_PIXELS < top < MOST_PIXELS
                and 0 <= area < math.inf
                and crowd in (0, 1)  # or true and false
                and {type(image), type(category), type(own if own is not None else 0)} <= ID_TYPES
            )
            values = (*map(float, box), float(area)) if is_right else ()
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            values = ()
        if not values:
            explain_annotation(place, entry)
        self.images.append(image)
        self.categories.append(category)
        self.ids.append(own)
        self.boxes.extend(values[:4])
        self.areas.append(values[4])
        self.crowds.append(crowd)

    def name(self, place: int) -> str:
        """Return what messages call the annotation at ``place``."""
        return name_annotation(place, self.ids[place])

    def find(self, ids: Sequence[Id], rows: Mapping[Id, int], what: str) -> np.ndarray:
        """Return the row of each of ``ids`` [T]; raise a Problem about the first that is not there."""
        found = np.fromiter((rows.get(number, -1) for number in ids), np.int64, len(ids))
        if (found < 0).any():
            place = int((found < 0).argmax())
            has_other = str(ids[place]) in map(str, rows)
            hint = f" (its {what} entry has the same id, but one is a number and the other a text)" if has_other else ""
            raise Problem(f"has no {what} {show(repr(ids[place]))}, which {self.name(place)} is of{hint}. {WAY_OUT}.")
        return found


def name_annotation(place: int, number: Any) -> str:
    """Return what messages call an annotation."""
    return f"annotation {place + 1} of its list" if number is None else f"annotation {show(number)}"


def explain_annotation(place: int, entry: Any) -> NoReturn:
    """Raise the Problem of an annotation that cannot be read."""
    if not isinstance(entry, dict):
        raise Problem(f"has {show(entry)} as annotation {place + 1} of its list, not an object. {WAY_OUT}.")
    number = entry.get("id")
    if number is not None and type(number) not in ID_TYPES:
        raise Problem(f"has {show(number)} as id of annotation {place + 1} of its list. {WAY_OUT}.")
    name = name_annotation(place, number)
    if "segments_info" in entry:
        raise Problem("is of panoptic segments and not of boxes: give COCO's instances_*.json, or one like it.")
    for key in ("image_id", "category_id"):
        if type(entry.get(key)) not in ID_TYPES:
            raise Problem(f"has no {key} for {name}, but {show(entry.get(key))}. {WAY_OUT}.")
    crowd, area = entry.get("iscrowd"), entry.get("area")
    if crowd is not None and crowd not in (0, 1):
        raise Problem(f"has {show(repr(crowd))} as iscrowd of {name}: it must be 0 or 1. {WAY_OUT}.")
    if area is not None and (type(area) not in (int, float) or not 0 <= area < math.inf):
        why = "it must be a finite number of pixels that is not negative"
        raise Problem(f"has {show(repr(area))} as area of {name}: {why}. {WAY_OUT}.")
    raise Problem(
        f"has as bbox of {name} {show(entry.get('bbox'))}: it must be left, top, width and height in pixels, "
        f"four finite numbers, at most {MOST_PIXELS:,}, of which the last two are not negative. {WAY_OUT}."
    )
