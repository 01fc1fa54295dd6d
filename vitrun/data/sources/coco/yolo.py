"""Images with boxes in YOLO's layout, as Ultralytics reads it: data.yaml, and a text file of boxes for each image.

A line of ``labels/NAME.txt`` is the number of a class, then center x, center y, width and height relative to the image
``images/NAME.jpg``, or the corners of an outline.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from vitrun import recipes
from vitrun.data.boxes import BoxTable
from vitrun.data.decode import FORMATS, read_orientation
from vitrun.data.sources.coco.annotations import Annotations
from vitrun.data.sources.coco.image_paths import clean_name, walk_images
from vitrun.data.sources.messages import abbreviate, escape_name, shorten, single_line
from vitrun.data.split import DECODE_POOL
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import read_small_text
from vitrun.runtime.yaml_text import load_yaml

DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt")  # the last of Label Studio and LabelImg
KEYS = {"train": ("train",), "test": ("val", "valid", "test")}  # of data.yaml, in the order in which they are tried
SLACK = 0.01  # how far outside of its image a relative coordinate may be, by rounding
TICK_EVERY = 1000  # images
Box = tuple[int, float, float, float, float]  # class, then left, top, right and bottom relative to the image


def find_description(folder: Path) -> Path | None:
    """Return the file that describes a data set in YOLO's layout; None if it has another."""
    if folder.is_file():
        return folder if folder.suffix.lower() in (".yaml", ".yml") else None
    return next((folder / name for name in DESCRIPTIONS if (folder / name).is_file()), None)


def read_yolo(
    data: recipes.Coco, file: Path, part: str, tick: Callable[[], None]
) -> tuple[Annotations, list[str], bool]:
    """Return the boxes of a part, the paths of its images, and whether they are the images of both parts.

    Raise a UserError if something is missing or wrong.
    """
    try:
        names, entries, is_whole = describe_part(data, file, part)
        paths = sorted(path for entry in entries for path in list_images(entry))
        if not paths:
            raise ValueError(f"names {abbreviate([*map(str, entries)])} for its {part} part, where no images are")
        boxes: list[list[Box]] = []
        for row, path in enumerate(paths):
            if row % TICK_EVERY == 0:
                tick()
            boxes.append(read_boxes(label_file(path), len(names)))
        if not any(boxes):
            raise ValueError(f"has no boxes for its {part} part: they are read from {label_file(paths[0])} and so on")
    except (ValueError, OSError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{file} {shorten(single_line(why), 250)}.", ExitCode.DATA) from None
    files = [escape_name(os.path.relpath(path, file.parent).replace(os.sep, "/")) for path in paths]
    return Annotations(files, names, make_table(files, boxes, measure_images(paths), len(names))), paths, is_whole


def describe_part(data: recipes.Coco, file: Path, part: str) -> tuple[tuple[str, ...], list[Path], bool]:
    """Return the classes, the folders or lists of the images of a part, and whether they are those of both parts."""
    text = read_small_text(file, "utf-8-sig")
    if file.suffix == ".txt":
        return read_names([line.strip() for line in text.splitlines() if line.strip()]), [file.parent / "images"], True
    content = load_yaml(text)
    if not isinstance(content, dict) or "names" not in content:
        raise ValueError("is not YOLO's data.yaml: it has no names of classes")
    given = data.train if part == "train" else data.test
    is_given = given not in (None, recipes.AUTO)
    present = [key for key in dict.fromkeys((*KEYS["train"], *KEYS["test"], given)) if content.get(key)]
    wanted = [key for key in present if key == given or not is_given and key in KEYS[part]]
    is_whole = not is_given and len(present) == 1
    if not wanted and not is_whole:
        known = abbreviate([str(key) for key in present])
        raise ValueError(f"has no {given if is_given else ' or '.join(KEYS[part])}: for data.{part}= there are {known}")
    entries = content[(wanted or present)[0]]
    entries = entries if isinstance(entries, list) else [entries]
    return read_names(content["names"]), [find_entry(file, content.get("path"), entry) for entry in entries], is_whole


def read_names(names: Any) -> tuple[str, ...]:
    """Return the names of the classes, a list or a mapping from numbers; raise ValueError if they are neither."""
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise ValueError(f"numbers the names of its classes {abbreviate([*map(str, names)])}, not 0, 1 and so on")
        names = [name for _, name in sorted(names.items(), key=lambda pair: int(pair[0]))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise ValueError(f"has as names {shorten(str(names))}: list one for each class")
    texts = [single_line(str(name)) for name in names]
    if len(set(texts)) < len(texts):
        raise ValueError(f"has the name {shorten(max(texts, key=texts.count))} for two classes: rename one")
    return tuple(texts)


def find_entry(file: Path, root: Any, entry: Any) -> Path:
    """Return the folder or list of images of a part; raise ValueError if it is not there.

    Roboflow writes ``../train/images`` for ``train/images``, and ``path`` may be that on another machine.
    """
    if not isinstance(entry, str):
        raise ValueError(f"has as folder of images {shorten(str(entry))}: a text is needed")
    entry = clean_name(entry)
    for folder in (file.parent / str(root or ""), file.parent):
        for name in (entry, entry.lstrip("./")):
            if (folder / name).exists():
                return folder / name
    raise ValueError(f"names {shorten(entry)}, which is not in {file.parent}")


def list_images(entry: Path) -> list[str]:
    """Return the paths of the images in a folder, or in a text file with one in each line."""
    if entry.is_dir():
        return [path for path in walk_images(entry) if os.path.basename(path)[0] != "."]
    lines = filter(None, map(str.strip, read_small_text(entry).splitlines()))
    return [os.path.normpath(entry.parent / line) for line in lines]


def label_file(path: str) -> str:
    """Return the file with the boxes of an image: ``labels`` in place of the last ``images`` of its path."""
    before, here, after = os.path.splitext(path)[0].rpartition("/images/")
    return f"{before}/labels/{after}.txt" if here else f"{after}.txt"


def read_boxes(file: str, classes: int) -> list[Box]:
    """Return the boxes in a file of labels, none if the file is missing; raise ValueError about a wrong line."""
    if not os.path.isfile(file):
        return []
    boxes: dict[Box, None] = {}  # each once, as Ultralytics has them
    for number, line in enumerate(read_small_text(Path(file)).splitlines(), 1):
        if values := line.split():
            try:
                boxes[read_box([*map(float, values)], classes)] = None
            except ValueError as error:
                raise ValueError(f"has a wrong label, line {number} of {file}, {shorten(line)}: {error}") from None
    return [*boxes]


def read_box(values: Sequence[float], classes: int) -> Box:
    """Return the box of a line of numbers; raise ValueError if it is none."""
    label, *numbers = values
    if label not in range(classes):
        raise ValueError(f"a class from 0 to {classes - 1} comes first")
    if not all(-SLACK <= number <= 1 + SLACK for number in numbers):
        raise ValueError("coordinates are relative to the image, from 0 to 1")
    if len(numbers) == 4:
        x, y, width, height = numbers
        return int(label), x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError("center x, center y, width and height follow the class, or the corners of an outline")
    return int(label), min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def measure_images(paths: Sequence[str]) -> np.ndarray:
    """Return height and width of images, after rotation by EXIF: [N, 2]; 1 by 1 for files that are not images."""

    def measure(path: str) -> tuple[int, int]:
        try:
            with Image.open(path, formats=FORMATS) as image:
                turned = read_orientation(image) >= 5
                return (image.width, image.height) if turned else (image.height, image.width)
        except Exception:  # whatever Pillow raises: reading the image will say what is wrong
            return 1, 1

    return np.array([*DECODE_POOL.map(measure, paths)], np.int64)


def make_table(files: Sequence[str], boxes: Sequence[Sequence[Box]], sizes: np.ndarray, classes: int) -> BoxTable:
    """Return the boxes in pixels; images have their names as ids."""
    rows = np.array([box for of_image in boxes for box in of_image])  # [T, 5]
    counts = np.array([*map(len, boxes)])
    corners = rows[:, 1:] * sizes.repeat(counts, 0)[:, [1, 0, 1, 0]]
    return BoxTable(
        starts=np.concatenate([[0], counts.cumsum()]),
        corners=corners,
        labels=rows[:, 0].astype(np.int64),
        crowd=np.zeros(len(rows), bool),
        areas=(corners[:, 2:] - corners[:, :2]).prod(1),
        sizes=sizes,
        image_ids=np.array(files),
        category_ids=np.arange(classes),
    )
