"""Write what a detector finds in test images: all boxes, AP by class, and a picture of some images."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vitrun.data import Split
from vitrun.engine.detection import FoundBoxes
from vitrun.runs.detections import CLASSES_FILE, DETECTIONS_FILE, PICTURE_FILE, write_class_scores
from vitrun.runs.run import Run

MOST_PICTURES = 24  # images in the picture
COLUMNS = 6
PICTURE_SIDE = 320  # pixels of the longer side of each
MIN_SCORE = 0.5  # least probability of a box in it


def write_detections(run: Run, test: Split, detections: FoundBoxes, classes: Sequence[str]) -> None:
    """Write the files of a run about what was found in the images of ``test``, by the names of the classes."""
    run.write_file(DETECTIONS_FILE, detections.write)
    run.write_file(CLASSES_FILE, partial(write_class_scores, detections.measured.score_classes(classes)))
    rows = np.linspace(0, len(test) - 1, min(MOST_PICTURES, len(test))).round().astype(np.int64)
    run.write_file(PICTURE_FILE, partial(write_pictures, test, detections, classes, rows))
    run.log(f"{PICTURE_FILE}: {len(rows)} test images, true boxes dashed, and found ones of {MIN_SCORE:.0%} or more")


def write_pictures(test: Split, detections: FoundBoxes, classes: Sequence[str], rows: np.ndarray, path: Path) -> None:
    """Write the images at ``rows`` of a split with true and found boxes, in a grid."""
    from vitrun.plots.boxes import DrawnBox, draw_boxes, join_pictures

    places = {int(index): place for place, index in enumerate(detections.indices)}
    pictures = []
    for row in rows.tolist():
        pixels = test.pixels[row].numpy() if test.pixels is not None else test.decode(row)
        place = places[row]
        boxes = [
            DrawnBox(box, f"{classes[label]} {score:.0%}", label)
            for box, label, score in detections.list_best(place, MIN_SCORE)
        ]
        first, last = detections.table.starts[place : place + 2]
        boxes += map(DrawnBox, detections.table.corners[first:last].tolist())
        pictures.append(draw_boxes(pixels, boxes, PICTURE_SIDE, PICTURE_SIDE))
    join_pictures(pictures, COLUMNS).save(path, "PNG")
