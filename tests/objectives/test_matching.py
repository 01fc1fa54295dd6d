"""Boxes are matched at the least cost, and each term of the loss is that of DETR's code."""

from itertools import permutations

import numpy as np
import pytest
import torch

from vitrun.models import Detections
from vitrun.objectives.detection_loss import count_weights, detection_terms
from vitrun.objectives.matching import match_boxes, match_costs


def draw(queries=5, counts=(3, 0, 1), classes=4):
    """Return random detections after two layers, true boxes padded to three, and their classes."""
    torch.manual_seed(0)
    B, M = len(counts), max(counts)
    found = Detections(torch.randn(B, 2, queries, classes + 1), torch.rand(B, 2, queries, 4) * 0.5 + 0.1)
    labels = torch.full((B, M), -1)
    for row, count in zip(labels, counts):
        row[:count] = torch.randint(classes, (count,))
    return found, torch.rand(B, M, 4) * 0.4 + 0.1, labels


def test_no_other_assignment_costs_less():
    found, boxes, classes = draw()
    queries, costs = match_boxes(found, boxes, classes), match_costs(found, boxes, classes)
    for image, count in enumerate((classes >= 0).sum(1).tolist()):
        for layer in range(2):
            chosen = queries[image, layer, :count].tolist()
            cost = costs[image, layer]
            best = min(permutations(range(5), count), key=lambda rows: sum(cost[row, m] for m, row in enumerate(rows)))
            assert chosen == list(best)


def test_what_pads_the_boxes_changes_nothing():
    found, boxes, classes = draw()
    more = torch.cat([boxes, torch.rand(3, 2, 4)], 1), torch.cat([classes, torch.full((3, 2), -1)], 1)
    for term, padded in zip(detection_terms(found, boxes, classes, 0.1), detection_terms(found, *more, 0.1)):
        torch.testing.assert_close(term, padded)


def test_gradients_are_finite_without_any_box():
    found, boxes, classes = draw(counts=(0, 0))
    found = Detections(*(value.requires_grad_() for value in found))
    terms = detection_terms(found, boxes, classes, 0.1)
    sum(term.sum() for term in terms).backward()
    assert found.logits.grad.isfinite().all() and not terms.distances.any() and not terms.overlaps.any()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "size"), [("yolos_hf", ""), ("yolos_hf", "_other_size"), ("yolos_hf_nomid", ""), ("detr_hf", "")]
)
def test_matchings_and_each_term_are_those_of_detr(shared, name, size):
    golden = np.load(shared / "golden" / "family" / name / "golden.npz")
    layers = [(f"logits{size}", f"pred_boxes{size}", "")]
    layers += [("aux_logits", "aux_boxes", "_0")] if name == "detr_hf" else []
    boxes = torch.from_numpy(golden["target_boxes"]).double()
    classes = torch.from_numpy(golden["target_labels"])
    for logits, places, suffix in layers:
        found = Detections(*(torch.from_numpy(golden[key])[:, None] for key in (logits, places)))
        terms = detection_terms(found, boxes, classes, 0.1)
        of_classes, of_boxes = count_weights((classes >= 0).sum(), len(classes), found.logits.shape[2], 0.1)
        for term, key, weight in zip(terms, ("ce", "bbox", "giou"), (of_classes, of_boxes, of_boxes)):
            assert float(term.sum()) / weight == pytest.approx(float(golden[f"loss_{key}{suffix}{size}"]), abs=1e-5)
        if not suffix:
            queries = match_boxes(found, boxes, classes)[:, 0]
            pairs = golden[f"assigned{size}"].tolist()
            assert all(int(queries[image, target]) == query for image, query, target in pairs)
            assert len(pairs) == int((classes >= 0).sum())
