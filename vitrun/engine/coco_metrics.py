"""COCO's twelve metrics of boxes, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vitrun.data import BoxTable
from vitrun.errors import UserError
from vitrun.runs.detections import ClassScore
from vitrun.runs.metrics import DETECTION_METRICS, Metric


class BoxMetrics(NamedTuple):
    """COCO's metrics of all boxes, and of those of each class."""

    metrics: dict[str, Metric]
    objects: np.ndarray  # [C] true boxes of each class, without crowds
    ap: np.ndarray  # [C] share; NaN for a class without objects
    ap50: np.ndarray  # [C]

    def score_classes(self, names: Sequence[str]) -> list[ClassScore]:
        """Return the scores of the classes, whose ``names`` are given."""
        return [*map(ClassScore, names, self.objects.tolist(), self.ap.tolist(), self.ap50.tolist())]


def measure_boxes(table: BoxTable, rows: np.ndarray) -> BoxMetrics:
    """Return COCO's metrics of the rows of :meth:`FoundBoxes.to_rows`, without those of sizes that no object has.

    Boxes in a crowd count as neither right nor wrong. Raise a UserError if pycocotools is not installed.
    """
    coco, evaluation = load_pycocotools()
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = coco.COCO()
        truth.dataset = describe_truth(table)
        truth.createIndex()
        detections = coco.COCO()
        detections.dataset = truth.dataset | {"annotations": describe_detections(rows)}
        detections.createIndex()
        evaluator = evaluation.COCOeval(truth, detections, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    values = zip(DETECTION_METRICS, evaluator.stats.tolist())
    metrics = {name: Metric(value, "share") for name, value in values if value >= 0}  # -1 without objects of the size
    precision = evaluator.eval["precision"][..., 0, 2]  # [IoU, recall, C] of all sizes, with 100 boxes per image
    ap, ap50 = (values.mean((0, 1)) for values in (precision, precision[:1]))
    objects = np.bincount(table.labels[~table.crowd], minlength=len(table.category_ids))
    return BoxMetrics(metrics, objects, *(np.where(objects > 0, values, np.nan) for values in (ap, ap50)))


def describe_truth(table: BoxTable) -> dict[str, Any]:
    """Return true boxes in COCO's annotation format; images and classes are numbered from 1."""
    images = np.repeat(np.arange(len(table)), np.diff(table.starts)) + 1
    boxes = np.concatenate([table.corners[:, :2], table.corners[:, 2:] - table.corners[:, :2]], 1)
    columns = (images, table.labels + 1, boxes, table.areas, table.crowd.astype(int))
    annotations = [
        {"id": number, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": crowd}
        for number, (image, label, box, area, crowd) in enumerate(zip(*(column.tolist() for column in columns)), 1)
    ]
    return {
        "images": [{"id": number + 1} for number in range(len(table))],
        "categories": [{"id": number + 1} for number in range(len(table.category_ids))],
        "annotations": annotations,
    }


def describe_detections(rows: np.ndarray) -> list[dict[str, Any]]:
    """Return the rows of :meth:`FoundBoxes.to_rows` as pycocotools stores a results file that it has loaded."""
    return [
        {"id": number, "image_id": int(image) + 1, "category_id": int(label) + 1, "bbox": box, "score": score,
         "area": box[2] * box[3], "iscrowd": 0}
        for number, (image, *box, score, label) in enumerate(rows.tolist(), 1)
    ]  # fmt: skip


def load_pycocotools() -> tuple[Any, Any]:
    """Return the modules ``coco`` and ``cocoeval`` of pycocotools. Raise a UserError if it is not installed."""
    try:
        from pycocotools import coco, cocoeval
    except ImportError:
        why = "AP is measured by pycocotools, which is not installed: pip install 'vitrun[detection]'."
        raise UserError(why) from None
    return coco, cocoeval
