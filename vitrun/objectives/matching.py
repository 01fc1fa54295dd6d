"""Match predicted boxes with true ones, one to one and at the least cost (DETR, arXiv 2005.12872, section 3.1)."""

import numpy as np
import torch
from torch import Tensor

from vitrun.errors import UserError
from vitrun.models import Detections

CLASS_COST, L1_COST, GIOU_COST = 1.0, 5.0, 2.0  # DETR's models/matcher.py and main.py


@torch.no_grad()
def match_boxes(detections: Detections, boxes: Tensor, classes: Tensor) -> Tensor:
    """Return the query of each true box after each layer, int64 [B, L, M]; 0 for padding.

    Args:
        detections: Logits [B, L, Q, C+1] and boxes [B, L, Q, 4].
        boxes: True boxes [B, M, 4]: center, width and height, relative to the image.
        classes: Their classes [B, M], -1 for padding.
    """
    solve = load_solver()
    counts = (classes >= 0).sum(1).tolist()
    B, L, Q, _ = detections.logits.shape
    queries = np.zeros((B, L, classes.shape[1]), np.int64)
    costs = torch.nan_to_num(match_costs(detections, boxes, classes), nan=1e6, posinf=1e6, neginf=-1e6).cpu().numpy()
    for image, count in enumerate(counts):
        for layer in range(L):
            rows, columns = solve(costs[image, layer, :, :count])
            queries[image, layer, columns] = rows
    return torch.from_numpy(queries).to(classes.device)


def match_costs(detections: Detections, boxes: Tensor, classes: Tensor) -> Tensor:
    """Return the cost of each query for each true box, [B, L, Q, M]."""
    B, L, Q, _ = detections.logits.shape
    index = classes.clamp(min=0)[:, None, None].expand(B, L, Q, -1)
    probability = detections.logits.softmax(3).gather(3, index)
    pairs, targets = detections.boxes[:, :, :, None], boxes[:, None, None]
    distance = (pairs - targets).abs().sum(4)
    return L1_COST * distance - CLASS_COST * probability - GIOU_COST * generalized_iou(pairs, targets)


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the generalised IoU (arXiv 1902.09630) of boxes [..., 4], each as center, width and height."""
    (first, last), (other_first, other_last) = to_corners(boxes), to_corners(others)
    overlap = area(torch.maximum(first, other_first), torch.minimum(last, other_last))
    union = area(first, last) + area(other_first, other_last) - overlap
    hull = area(torch.minimum(first, other_first), torch.maximum(last, other_last))
    return overlap / union - (hull - union) / hull


def to_corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the upper left and the lower right corner of boxes [..., 4]: both [..., 2]."""
    center, size = boxes[..., :2], boxes[..., 2:]
    return center - size / 2, center + size / 2


def area(first: Tensor, last: Tensor) -> Tensor:
    """Return the area between corners [..., 2]; 0 unless the last is below and to the right of the first."""
    return (last - first).clamp(min=0).prod(-1)


def load_solver():  # type: ignore[no-untyped-def]  # scipy has no types
    """Return scipy's solver of the assignment problem. Raise a UserError if it is not installed."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        why = "matches boxes with scipy, which is not installed: pip install 'vitrun[detection]'."
        raise UserError(why, option="objective", value="detection") from None
    return linear_sum_assignment
