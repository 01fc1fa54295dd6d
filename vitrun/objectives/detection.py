"""Find objects: boxes and classes, matched with the true ones (DETR, arXiv 2005.12872; YOLOS, arXiv 2106.00666)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from vitrun import models
from vitrun.data import Batch, Boxes, Split, pad_boxes
from vitrun.engine.coco_metrics import load_pycocotools
from vitrun.engine.detection import decode_detections, run_detector
from vitrun.errors import ExitCode, UserError
from vitrun.models import Detections
from vitrun.objectives.detection_loss import Terms, count_weights, detection_terms
from vitrun.recipes import Detection, Finetune, Model, Pretrain, Training
from vitrun.recipes.detection import DetectionLoss
from vitrun.recipes.detector_rows import make_detector_row
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime.device import Machine

EMPTY = Boxes(torch.empty(0, 4), torch.empty(0, dtype=torch.long))  # of a blank image


@dataclass(frozen=True)
class DetectionObjective:
    """Predict the class and the box of each object, and "no object" for the other queries."""

    options: DetectionLoss
    batch: int  # images of a step, over all ranks
    like: str | None = None  # model of the table whose tokens or decoder a body gets; None for the body's default

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
        load_pycocotools()  # evaluation needs it: an error before training, not after it

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained detector of the training images' classes, with ``model`` as its body unless it is one."""
        row, classes = make_detector_row(model, self.like, res), len(train.classes)
        return models.LoadedModel(models.build(row, classes, res), row, classes, res, None, train.classes)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch with the boxes of each image, and the numbers of images and boxes that divide the losses.

        They are those of the whole step on all ranks, so that a gradient does not depend on how images are divided into
        micro-batches and over ranks.
        """
        boxes, classes = pad_boxes(batch.boxes or [EMPTY] * len(batch.indices))
        totals = torch.tensor([self.batch, batch.step_boxes]).expand(len(classes), 2)
        return replace(batch, labels=classes, targets=(boxes, totals))

    def loss(self, detections: Detections, classes: Tensor, boxes: Tensor, totals: Tensor) -> Tensor:
        """Return the loss of each image, whose mean over all images of a step is DETR's loss of the step: -> [B].

        Args:
            detections: Logits [B, L, Q, C+1] and boxes [B, L, Q, 4].
            classes: True classes [B, M], -1 for padding.
            boxes: True boxes [B, M, 4].
            totals: Numbers of images and of boxes of the step, the same for each image, [B, 2].
        """
        detections = detections if self.options.auxiliary else detections.last()
        terms = detection_terms(detections, boxes, classes, self.options.no_object)
        sums, queries = Terms(*(term.sum(1) for term in terms)), detections.logits.shape[2]
        images, number = totals.unbind(1)
        return images * self.combine(sums, number, images, queries)

    def combine(self, sums: Terms, boxes: Tensor, images: Tensor, queries: int) -> Tensor:
        """Return the weighted sum of the terms, divided by what a step of ``images`` with ``boxes`` has of each."""
        of_classes, of_boxes = count_weights(boxes, images, queries, self.options.no_object)
        weighted = self.options.l1 * sums.distances + self.options.giou * sums.overlaps
        return sums.classes / of_classes + weighted / of_boxes

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return COCO's metrics, the loss of the test images as one step of all, and the :class:`FoundBoxes`.

        All are of the detections after the last layer.
        """

        def measure(*arguments: Tensor) -> tuple[Tensor, ...]:
            *inputs, classes, boxes, _, sizes = arguments
            detections = cast(Detections, network(*inputs)).last()
            terms = detection_terms(detections, boxes, classes, self.options.no_object)
            return (*(term[:, 0] for term in terms), (classes >= 0).sum(1), *decode_detections(*detections, sizes))

        prepared = (self.prepare(batch, 0) for batch in batches)
        (*columns, counts), detections = run_detector(network, prepared, measure, machine, tick)
        images, queries = detections.scores.shape
        sums = Terms(*(torch.from_numpy(values).double().sum() for values in columns))
        loss = self.combine(sums, torch.tensor([counts.sum()]), torch.tensor([images]), queries)
        return {
            **detections.summarize(),
            "loss": Metric(float(loss), lower_is_better=True),
            "test_images": images,
            "detections": detections,
        }
