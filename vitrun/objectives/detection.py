"""Find objects: boxes and classes, matched with the true ones (DETR, arXiv 2005.12872; YOLOS, arXiv 2106.00666)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from vitrun import models
from vitrun.data import Batch, Boxes, BoxTable, Split, pad_boxes
from vitrun.engine.detection import FoundBoxes, decode_detections, load_pycocotools
from vitrun.engine.inference import run_inference
from vitrun.errors import ExitCode, UserError
from vitrun.models import Detections
from vitrun.objectives.detection_loss import Terms, count_weights, detection_terms
from vitrun.recipes import Detection, Finetune, Model, Pretrain, Training
from vitrun.recipes.detection import DetectionLoss
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime.device import Machine

EMPTY = Boxes(torch.empty(0, 4), torch.empty(0, dtype=torch.long))  # what a blank image shows


@dataclass(frozen=True)
class DetectionObjective:
    """Predict the class and the box of each object, and "no object" for the other queries."""

    options: DetectionLoss
    batch: int  # images of a step, over all ranks
    like: str | None = None  # the detector of the table whose tokens or decoder a body gets; None: by the body

    @classmethod
    def from_recipe(cls, recipe: Training) -> "DetectionObjective":
        """Return the objective of a recipe of pretraining or fine-tuning."""
        if isinstance(recipe, Finetune):
            return cls(recipe.detect, recipe.batch, recipe.detect.model)
        return cls(cast(Detection, cast(Pretrain, recipe).objective), recipe.batch)  # as the recipe has checked

    def check_data(self, *splits: Split) -> None:
        """Raise UserError if images have no boxes."""
        if any(split.boxes is None for split in splits):
            why = "needs images with boxes: choose data=boxes or data=coco."
            raise UserError(why, ExitCode.DATA, "objective", "detection")
        load_pycocotools()  # which is missed before training, and not after it

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained detector of the training images' classes; of another model, one with it as its body."""
        row, classes = models.make_detector_row(model, self.like, res), len(train.classes)
        return models.LoadedModel(models.build(row, classes, res), row, classes, res, None, train.classes)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch with the boxes of each image, and what its sums of losses are divided by.

        The divisors are those of the whole step, of all ranks, so that a gradient does not depend on how its images are
        divided into micro-batches and over ranks.
        """
        boxes, classes = pad_boxes(batch.boxes or [EMPTY] * len(batch.images))
        totals = torch.tensor([self.batch, batch.step_boxes]).expand(len(classes), 2)
        return replace(batch, labels=classes, targets=(boxes, totals))

    def loss(self, found: Detections, classes: Tensor, boxes: Tensor, totals: Tensor) -> Tensor:
        """Return the loss of each image, whose mean over all images of a step is DETR's loss of the step: -> [B].

        Args:
            found: Logits [B, L, Q, C+1] and boxes [B, L, Q, 4].
            classes: True classes [B, M], -1 for padding.
            boxes: True boxes [B, M, 4].
            totals: The images and the boxes of the step, the same for each image, [B, 2].
        """
        found = found if self.options.auxiliary else Detections(found.logits[:, -1:], found.boxes[:, -1:])
        terms = detection_terms(found, boxes, classes, self.options.no_object)
        images, number = totals.unbind(1)
        of_classes, of_boxes = count_weights(number, images, found.logits.shape[2], self.options.no_object)
        sums = Terms(*(term.sum(1) for term in terms))
        return images * (sums.classes / of_classes + self.weigh_boxes(sums.distances, sums.overlaps) / of_boxes)

    def weigh_boxes(self, distances: Tensor, overlaps: Tensor) -> Tensor:
        """Return the weighted sum of the two terms of boxes."""
        return self.options.l1 * distances + self.options.giou * overlaps

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return COCO's figures, the loss of the test images as one step of all, and what was found.

        All are of the detections after the last layer.
        """
        tables: list[BoxTable | None] = []

        def prepare(batch: Batch) -> Batch:
            tables.append(batch.table)
            prepared = self.prepare(batch, 0)
            return replace(prepared, targets=(*prepared.targets, batch.sizes))

        def measure(*arguments: Tensor) -> tuple[Tensor, ...]:
            *inputs, classes, boxes, _, sizes = arguments
            found = Detections(*(values[:, -1:] for values in network(*inputs)))
            terms = detection_terms(found, boxes, classes, self.options.no_object)
            return (*(term[:, 0] for term in terms), (classes >= 0).sum(1), *decode_detections(*found, sizes))

        *sums, counts, scores, labels, corners, indices = run_inference(
            network, map(prepare, batches), measure, machine, tick
        )
        table = cast(BoxTable, tables[0]).select(indices)
        detections = FoundBoxes(scores.astype(np.float64), labels, corners, indices, table)
        loss = self.divide(sums, counts, cast(models.Detector, network).row.tokens)
        return {
            **detections.measure(),
            "loss": Metric(loss, lower_is_better=True),
            "test_images": len(indices),
            "detections": detections,
        }

    def divide(self, sums: list[np.ndarray], counts: np.ndarray, queries: int) -> float:
        """Return the loss of N images by the sums of the three terms of each, [N], and their numbers of boxes [N]."""
        number, images = torch.tensor([counts.sum()]), torch.tensor([len(counts)])
        of_classes, of_boxes = count_weights(number, images, queries, self.options.no_object)
        classes, distances, overlaps = (torch.from_numpy(values).double().sum() for values in sums)
        return float(classes / of_classes + self.weigh_boxes(distances, overlaps) / of_boxes)
