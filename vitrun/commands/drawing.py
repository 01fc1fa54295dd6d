"""Copies of a user's images with the boxes of their objects, in a folder."""

import os
from collections.abc import Sequence
from pathlib import Path

from vitrun import data
from vitrun.commands.prediction_rows import FoundObjects, Row
from vitrun.errors import UserError
from vitrun.plots.boxes import DrawnBox, draw_boxes
from vitrun.runtime.outputs import check_replaceable, write_output

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # of images that are written as what they are, others as PNG


class Drawing:
    """Draw boxes into copies of images, with the images' paths relative to the folder that all of them lie in.

    Raise UserError if something other than vitrun wrote one of the files; with ``force`` its own are replaced.
    """

    def __init__(
        self, folder: Path, paths: Sequence[str], names: Sequence[str], exif: bool, force: bool, classes: Sequence[str]
    ):
        absolute = [os.path.abspath(path) for path in paths]
        base = os.path.commonpath([os.path.dirname(path) for path in absolute])
        self.split = data.open_image_files(paths, exif=exif)
        self.places = {name: row for row, name in enumerate(names)}
        self.targets = [folder / name_target(os.path.relpath(path, base)) for path in absolute]
        self.colors = {name: number for number, name in enumerate(classes)}
        self.force, self.number = force, 0
        for target in self.targets:
            check_replaceable(target, "draw")

    def draw(self, rows: Sequence[Row]) -> None:
        """Write a copy of the image of each row that could be read."""
        for row in rows:
            if isinstance(row, FoundObjects):
                self.draw_one(row)

    def draw_one(self, row: FoundObjects) -> None:
        """Write a copy of one image."""
        place = self.places[row.path]
        target = self.targets[place]
        try:
            pixels = self.split.decode(place)
        except UserError:  # the file is gone since its objects were found
            return
        boxes = [
            DrawnBox((left, top, left + width, top + height), f"{name} {score:.0%}", self.colors[name])
            for name, score, (left, top, width, height) in zip(row.classes, row.probabilities, row.boxes)
        ]
        image = draw_boxes(pixels, boxes, most=max(pixels.shape))
        kind = {".png": "PNG", ".webp": "WEBP"}.get(target.suffix.lower(), "JPEG")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_output(target, lambda partial: image.save(partial, kind, quality=90), "draw", self.force)
        self.number += 1


def name_target(path: str) -> str:
    """Return the name of the copy of an image."""
    return path if os.path.splitext(path)[1].lower() in SUFFIXES else f"{path}.png"
