"""Losses of detections that are matched with true boxes (DETR, arXiv 2005.12872, section 3.1; its models/detr.py)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vitrun.models import Detections
from vitrun.objectives.matching import generalized_iou, match_boxes


class Terms(NamedTuple):
    """Sums over the queries or boxes of an image after each layer, each [B, L]."""

    classes: Tensor  # cross-entropy of all queries, each times its weight
    distances: Tensor  # L1 distance of center, width and height of each pair
    overlaps: Tensor  # 1 - generalised IoU of each pair


def detection_terms(detections: Detections, boxes: Tensor, classes: Tensor, no_object: float) -> Terms:
    """Return the terms of the loss; true boxes are [B, M, 4] and their classes [B, M], -1 for padding.

    ``no_object`` is the weight of a query without a match.
    """
    queries, is_box = match_boxes(detections, boxes, classes), (classes >= 0)[:, None]  # [B, L, M], [B, 1, M]
    B, L, Q, outputs = detections.logits.shape
    targets = detections.logits.new_full((B, L, Q + 1), outputs - 1, dtype=torch.long)  # the last place is for padding
    places = queries.where(is_box, Q)
    targets.scatter_(2, places, classes.clamp(min=0)[:, None].expand_as(places))
    targets = targets[:, :, :Q]
    losses = functional.cross_entropy(detections.logits.movedim(3, 1), targets, reduction="none")  # [B, L, Q]
    weights = torch.where(targets == outputs - 1, no_object, 1.0)
    pairs = detections.boxes.gather(2, queries[..., None].expand(-1, -1, -1, 4))  # [B, L, M, 4]
    distances = (pairs - boxes[:, None]).abs().sum(3)
    overlaps = 1 - generalized_iou(pairs, torch.where(is_box[..., None], boxes[:, None], 0.5))
    return Terms((losses * weights).sum(2), *((x * is_box).sum(2) for x in (distances, overlaps)))


def count_weights(boxes: Tensor, images: Tensor, queries: int, no_object: float) -> tuple[Tensor, Tensor]:
    """Return the divisors of the sums of classes and of boxes, for a step with that many ``boxes`` and ``images``."""
    return boxes + no_object * (images * queries - boxes), boxes.clamp(min=1)
