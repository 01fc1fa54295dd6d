"""Options of training a network that finds objects."""

from typing import Annotated, Literal

from pydantic import Field

from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.model import Detector, Model

Weight = Annotated[float, Field(ge=0, le=1000)]


@frozen_dataclass
class DetectionLoss:
    """Weights in the loss of detections that are matched with true boxes (DETR, arXiv 2005.12872, section 3.1)."""

    no_object: Annotated[float, Field(gt=0, le=1)]  # weight of a detection without an object, in the cross-entropy
    l1: Weight  # weight of the distance of center, width and height from those of the true box
    giou: Weight  # weight of 1 - generalised IoU with the true box
    auxiliary: bool  # add the loss of the detections after each layer of a decoder, not of the last layer alone


@frozen_dataclass
class Detection(DetectionLoss):
    """Find objects: their boxes and classes."""

    kind: Literal["detection"]  # comes with objective=NAME

    uses_labels = False

    def check_model(self, model: Model) -> None:
        """Raise an OptionError unless the model finds objects."""
        if not isinstance(model, Detector):
            why = f"finds objects, which {model.name} does not: choose a detector, as model=yolos_nano."
            raise OptionError("objective", self.kind, why)


@frozen_dataclass
class Detect(DetectionLoss):
    """Options of ``vitrun finetune`` for data sets with boxes, for which pretrained weights become a detector."""

    # model whose detection tokens or decoder are added to init; null for 100 tokens in a ViT, and the decoder of
    # detr_r50 behind a ResNet. A detector as init keeps its own
    model: str | None
