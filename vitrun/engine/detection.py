"""Boxes that a detector finds in images, and COCO's twelve metrics of them."""

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vitrun.data import Batch, BoxTable
from vitrun.engine.inference import run_inference
from vitrun.errors import UserError
from vitrun.runs.detections import ClassScore
from vitrun.runs.metrics import DETECTION_METRICS, Metric, Result
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


class BoxMetrics(NamedTuple):
    """COCO's metrics of all boxes, and of those of each class."""

    metrics: dict[str, Metric]
    objects: np.ndarray  # [C] true boxes of each class, without crowds
    ap: np.ndarray  # [C] share; NaN for a class without objects
    ap50: np.ndarray  # [C]

    def score_classes(self, names: Sequence[str]) -> list[ClassScore]:
        """Return the scores of the classes of these names."""
        return [*map(ClassScore, names, self.objects.tolist(), self.ap.tolist(), self.ap50.tolist())]


@dataclass(frozen=True)
class FoundBoxes:
    """The box of each of Q queries in each of N images, with its likeliest class."""

    scores: np.ndarray  # float64 [N, Q] probability of the class
    labels: np.ndarray  # int64 [N, Q]; -1 for a class that the data set lacks
    corners: np.ndarray  # float64 [N, Q, 4] left, top, right and bottom in pixels of the image
    indices: np.ndarray  # [N] indices of the images in the split
    table: BoxTable  # true boxes of these images

    def to_rows(self) -> np.ndarray:
        """Return image, left, top, width, height, score and class of each box, float64 [K, 7], best of an image first.

        Numbers are rounded as in ``detections.json``, so that other programs compute the same metrics from that file.
        """
        order = np.argsort(-self.scores, axis=1, kind="stable")
        labels, scores = (np.take_along_axis(values, order, 1) for values in (self.labels, self.scores))
        corners = np.take_along_axis(self.corners, order[..., None], 1)
        images = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
        sides = corners[..., 2:] - corners[..., :2]
        boxes = np.round(np.concatenate([corners[..., :2], sides], 2), 2)
        rows = np.concatenate([images[..., None], boxes, np.round(scores, 6)[..., None], labels[..., None]], 2)
        return rows[labels >= 0]

    @cached_property
    def measured(self) -> "BoxMetrics":
        """Return the metrics of :func:`measure_boxes`."""
        return measure_boxes(self.table, self.to_rows())

    def list_surest(self, place: int, least: float) -> Iterator[tuple[list[float], int, float]]:
        """Yield corners, class and score of the boxes of at least a score in image number ``place``, surest first."""
        order = np.argsort(-self.scores[place], kind="stable")
        rows = [row for row in order if self.scores[place, row] >= least and self.labels[place, row] >= 0]
        columns = (values[place, rows].tolist() for values in (self.corners, self.labels, self.scores))
        yield from zip(*columns)

    def summarize(self) -> Result:
        """Return COCO's metrics, and the number of true boxes without those of crowds."""
        return {**self.measured.metrics, "objects": int((~self.table.crowd).sum())}

    def write(self, path: Path) -> None:
        """Write the boxes in COCO's format of results, with the ids that the annotations have."""
        images, categories = self.table.image_ids.tolist(), self.table.category_ids.tolist()
        rows = [
            {"image_id": images[int(image)], "category_id": categories[int(label)], "bbox": bbox, "score": score}
            for image, *bbox, score, label in self.to_rows().tolist()
        ]
        path.write_text(json.dumps(rows), encoding="utf-8")


def find_boxes(
    network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
) -> FoundBoxes:
    """Return what a detector finds in every image of ``batches``, each exactly once."""
    _, boxes = run_detector(network, batches, partial(detect, network), machine, tick)
    return boxes


def run_detector(
    network: nn.Module,
    batches: Iterable[Batch],
    function: Callable[..., tuple[Tensor, ...]],
    machine: Machine,
    tick: Callable[[int], None],
) -> tuple[Sequence[np.ndarray], FoundBoxes]:
    """Apply ``function(*inputs, *targets, sizes)`` to every batch, as :func:`run_inference` does.

    The last three outputs of ``function`` are those of :func:`decode_detections`. Return the other outputs, and the
    boxes.
    """
    table: BoxTable | None = None

    def add_sizes(batch: Batch) -> Batch:
        nonlocal table
        table = batch.table  # the same for all batches of a split
        return replace(batch, targets=(*batch.targets, batch.sizes))

    *others, scores, labels, corners, indices = run_inference(network, map(add_sizes, batches), function, machine, tick)
    table = next(one for one in distributed.all_gather_object(table) if one is not None)  # a rank may have no images
    return others, FoundBoxes(scores.astype(np.float64), labels, corners, indices, table.select(indices))


def detect(network: nn.Module, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return :func:`decode_detections` of a micro-batch: the inputs of ``network``, labels and sizes of the images."""
    *inputs, _, sizes = tensors
    logits, boxes = network(*inputs)
    return decode_detections(logits, boxes, sizes)


def decode_detections(logits: Tensor, boxes: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the score, the class and the corners of each query after the last layer, as DETR does for COCO.

    Shapes are those of a batch of B images in :class:`FoundBoxes`.

    Args:
        logits: [B, L, Q, C+1], of which the last is "no object".
        boxes: [B, L, Q, 4] center x, center y, width and height, relative to the image.
        sizes: [B, 2] height and width of the images, in pixels.
    """
    scores, labels = logits[:, -1].softmax(2)[..., :-1].max(2)
    center, side = boxes[:, -1].double().split(2, 2)
    scale = sizes.flip(1).repeat(1, 2)[:, None]
    return scores, labels, torch.cat([center - side / 2, center + side / 2], 2) * scale


def measure_boxes(table: BoxTable, rows: np.ndarray) -> BoxMetrics:
    """Return COCO's metrics of the boxes of :meth:`FoundBoxes.to_rows`; those of sizes that no object has are left out.

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
    precision = evaluator.eval["precision"][..., 0, 2]  # [IoU, recall, C] of all sizes, with 100 boxes an image
    ap, ap50 = (values.mean((0, 1)) for values in (precision, precision[:1]))
    objects = np.bincount(table.labels[~table.crowd], minlength=len(table.category_ids))
    return BoxMetrics(metrics, objects, *(np.where(objects > 0, values, np.nan) for values in (ap, ap50)))


def describe_truth(table: BoxTable) -> dict[str, Any]:
    """Return true boxes as an object of COCO's annotations; images and classes are numbered from 1."""
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
    """Return the rows of :meth:`FoundBoxes.to_rows` as pycocotools has those of a file of results in memory."""
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
