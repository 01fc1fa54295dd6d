"""Recipe of ``vitrun pretrain``."""

from typing import Annotated

from pydantic import Field

from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.data_checks import check_has_labels, check_not_suite
from vitrun.recipes.model import Detector, IGpt, Model, ViT
from vitrun.recipes.objective import Objective
from vitrun.recipes.probe import OnlineProbe
from vitrun.recipes.training import Training


@frozen_dataclass
class Pretrain(Training):
    """Train a model from scratch."""

    model: Model  # the architecture
    objective: Objective  # what the network is trained for
    # initial bias of the head; null for 0 with softmax and -10 with sigmoid
    head_bias: Annotated[float, Field(ge=-1e6, le=1e6)] | None
    # training images to leave out: those that dedup runs found in a test set, or whose keys are the lines of files
    exclude: tuple[str, ...]
    fewshot: OnlineProbe  # few-shot accuracy during training

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_suite(self.data)
        if not self.model.name:
            why = "needs an architecture: add model.name=NAME, any of timm.list_models()."
            raise OptionError("model", "timm", why)
        if isinstance(self.model, ViT | IGpt | Detector) and self.res:
            self.model.check_resolution(self.res)
        self.objective.check_model(self.model)
        if self.objective.uses_labels:
            check_has_labels(self.data, f"objective={self.objective.kind}")
        elif self.objective.kind == "detection":
            self.check_finds_objects()
            if (every := self.fewshot.every) is not None:
                raise OptionError("fewshot.every", every, "probes features of whole images: leave it out.")
        else:
            self.check_no_label_options(f"objective={self.objective.kind}")
