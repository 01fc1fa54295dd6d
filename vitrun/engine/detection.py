"""Inference with a detector: the boxes that it finds in images."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vitrun.data import Batch, BoxTable
from vitrun.engine.coco_metrics import BoxMetrics, measure_boxes
from vitrun.engine.inference import run_inference
from vitrun.runs.metrics import Result
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


@dataclass(frozen=True)
class FoundBoxes:
    """The box of each of Q queries in each of N images, with its likeliest class."""

    scores: np.ndarray  # float64 [N, Q] probability of the class
    labels: np.ndarray  # int64 [N, Q]; -1 for a class that the data set does not have
    corners: np.ndarray  # float64 [N, Q, 4] left, top, right and bottom in pixels of the image
    indices: np.ndarray  # [N] indices of the images in the split
    table: BoxTable  # true boxes of these images

    def to_rows(self) -> np.ndarray:
        """Return float64 [K, 7]: image, left, top, width, height, score and class of each box, by image and score.

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
    def measured(self) -> BoxMetrics:
        """Return the metrics of :func:`measure_boxes`."""
        return measure_boxes(self.table, self.to_rows())

    def list_best(self, place: int, least: float) -> Iterator[tuple[list[float], int, float]]:
        """Yield corners, class and score of the boxes with at least a score in image number ``place``, best first."""
        order = np.argsort(-self.scores[place], kind="stable")
        rows = [row for row in order if self.scores[place, row] >= least and self.labels[place, row] >= 0]
        columns = (values[place, rows].tolist() for values in (self.corners, self.labels, self.scores))
        yield from zip(*columns)

    def summarize(self) -> Result:
        """Return COCO's metrics, and the number of true boxes without crowds."""
        return {**self.measured.metrics, "objects": int((~self.table.crowd).sum())}

    def write(self, path: Path) -> None:
        """Write the boxes in COCO's results format, with the ids of the annotations."""
        images, categories = self.table.image_ids.tolist(), self.table.category_ids.tolist()
        rows = [
            {"image_id": images[int(image)], "category_id": categories[int(label)], "bbox": bbox, "score": score}
            for image, *bbox, score, label in self.to_rows().tolist()
        ]
        path.write_text(json.dumps(rows), encoding="utf-8")


def find_boxes(
    network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
) -> FoundBoxes:
    """Return the boxes that a detector finds in the images of ``batches``, each exactly once."""
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
        table = batch.table  # the same in all batches of a split
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
