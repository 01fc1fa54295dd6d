"""The boxes that a detector finds in images, and the twelve figures of COCO that measure them."""

import contextlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitrun.data import Batch, BoxTable
from vitrun.engine.inference import run_inference
from vitrun.errors import UserError
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime.device import Machine

DETECTIONS_FILE = "detections.json"
# In the order of pycocotools: average precision over IoU 0.5 to 0.95, at 0.5, at 0.75, and of objects of up to 32 by 32
# pixels, up to 96 by 96 and larger; average recall with 1, 10 and 100 boxes an image, and of these sizes
FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True)
class FoundBoxes:
    """The box of each of Q queries in each of N images, with its likeliest class."""

    scores: np.ndarray  # float64 [N, Q] probability of the class
    labels: np.ndarray  # int64 [N, Q]; -1 for a class that the data set lacks
    corners: np.ndarray  # float64 [N, Q, 4] left, top, right and bottom in pixels of the image
    indices: np.ndarray  # [N] of the images in their split
    table: BoxTable  # true boxes of these images

    def to_rows(self) -> np.ndarray:
        """Return image, left, top, width, height, score and class of each box, float64 [K, 7], best of an image first.

        Numbers are rounded as the file of detections has them, so that others measure the same by it.
        """
        order = np.argsort(-self.scores, axis=1, kind="stable")
        labels, scores = (np.take_along_axis(values, order, 1) for values in (self.labels, self.scores))
        corners = np.take_along_axis(self.corners, order[..., None], 1)
        images = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
        sides = corners[..., 2:] - corners[..., :2]
        boxes = np.round(np.concatenate([corners[..., :2], sides], 2), 2)
        rows = np.concatenate([images[..., None], boxes, np.round(scores, 6)[..., None], labels[..., None]], 2)
        return rows[labels >= 0]

    def measure(self) -> dict[str, Metric]:
        """Return the figures of :func:`measure_boxes`."""
        return measure_boxes(self.table, self.to_rows())

    def write(self, path: Path) -> None:
        """Write a list of detections in the form of COCO's results, with the ids of its annotations."""
        images, categories = self.table.image_ids.tolist(), self.table.category_ids.tolist()
        rows = [
            {"image_id": images[int(image)], "category_id": categories[int(label)], "bbox": bbox, "score": score}
            for image, *bbox, score, label in self.to_rows().tolist()
        ]
        path.write_text(json.dumps(rows), encoding="utf-8")


def measure_detections(
    network: nn.Module,
    batches: Iterable[Batch],
    machine: Machine,
    tick: Callable[[int], None],
    classes: np.ndarray | None = None,
) -> Result:
    """Return the figures of a detector on all images of ``batches``, and under ``detections`` what it found."""
    found = find_boxes(network, batches, machine, tick, classes)
    return {**found.measure(), "test_images": len(found.scores), "detections": found}


def find_boxes(
    network: nn.Module,
    batches: Iterable[Batch],
    machine: Machine,
    tick: Callable[[int], None],
    classes: np.ndarray | None = None,
) -> FoundBoxes:
    """Return what a detector finds in every image of ``batches``, each exactly once.

    Args:
        classes: [C] the class of the data set that each class of the network is, -1 for none; None if they are equal.
    """
    tables: list[BoxTable] = []

    def with_sizes(batch: Batch) -> Batch:
        if not tables and batch.table is not None:
            tables.append(batch.table)
        return replace(batch, targets=(batch.sizes,))

    def detect(*inputs: Tensor) -> tuple[Tensor, ...]:
        *images, _, sizes = inputs
        logits, boxes = network(*images)
        return decode_detections(logits, boxes, sizes)

    scores, labels, corners, indices = run_inference(network, map(with_sizes, batches), detect, machine, tick)
    if classes is not None:
        labels = classes[labels]
    return FoundBoxes(scores.astype(np.float64), labels, corners, indices, tables[0].select(indices))


def decode_detections(logits: Tensor, boxes: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the score, the class and the corners of each query after the last layer, as DETR does for COCO.

    Args:
        logits: [B, L, Q, C+1], of which the last is "no object".
        boxes: [B, L, Q, 4] center x, center y, width and height, relative to the image.
        sizes: [B, 2] height and width of the images; corners [B, Q, 4] are in their pixels.
    """
    scores, labels = logits[:, -1].softmax(2)[..., :-1].max(2)
    center, side = boxes[:, -1].double().split(2, 2)
    scale = sizes.flip(1).repeat(1, 2)[:, None]
    return scores, labels, torch.cat([center - side / 2, center + side / 2], 2) * scale


def measure_boxes(table: BoxTable, rows: np.ndarray) -> dict[str, Metric]:
    """Return the figures of COCO for boxes as :meth:`FoundBoxes.to_rows` has them, but those of sizes that no box has.

    Crowds are neither missed nor found. Raise a UserError if pycocotools is not installed.
    """
    coco, evaluation = load_pycocotools()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = coco.COCO()
        truth.dataset = describe_truth(table)
        truth.createIndex()
        found = coco.COCO()
        found.dataset = {key: truth.dataset[key] for key in ("images", "categories")} | {
            "annotations": list_found(rows)
        }
        found.createIndex()
        measured = evaluation.COCOeval(truth, found, "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    figures = zip(FIGURES, measured.stats.tolist())
    return {name: Metric(value, "share") for name, value in figures if value >= 0}  # -1 where there is nothing to find


def describe_truth(table: BoxTable) -> dict[str, Any]:
    """Return true boxes as pycocotools has a file of annotations; images and classes are numbered from 1."""
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


def list_found(rows: np.ndarray) -> list[dict[str, Any]]:
    """Return found boxes as pycocotools has them after it read a file of results."""
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
