"""Recipe of ``vitrun pretrain``."""

from vitrun.recipes import trees
from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.data_checks import check_has_labels, check_not_suite
from vitrun.recipes.model import IGpt, Model, ViT
from vitrun.recipes.objective import Objective
from vitrun.recipes.probe import OnlineProbe
from vitrun.recipes.training import Training


@frozen_dataclass
class Pretrain(Training):
    """Train a model from scratch."""

    model: Model  # the architecture
    objective: Objective  # what the network is trained for
    head_bias: float | None  # initial bias of the head; null for 0 with softmax and -10 with sigmoid
    # training images to leave out: those that dedup runs found in a test set, or whose keys are the lines of files
    exclude: tuple[str, ...]
    fewshot: OnlineProbe  # few-shot accuracy on the way

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_suite(self.data)
        if not self.model.name:
            why = "needs an architecture: add model.name=NAME, any of timm.list_models()."
            raise OptionError("model", "timm", why)
        if isinstance(self.model, ViT | IGpt) and self.res:
            self.model.check_resolution(self.res)
        self.objective.check_model(self.model)
        if self.objective.uses_labels:
            check_has_labels(self.data, f"objective={self.objective.kind}")
        else:
            self.check_no_label_options()

    def check_no_label_options(self) -> None:
        """Raise an OptionError if an option is set that only an objective with labels reads."""
        unset = {
            "smoothing": 0,
            "augment.mixup": 0,
            "augment.cutmix": 0,
            "head_bias": None,
            "class_weights": "none",
            "sampler": "uniform",
        }
        given = {option: trees.get_value(trees.to_plain_tree(self), option) for option in unset}
        for option, value in unset.items():
            if given[option] != value:
                why = f"is for labels, and objective={self.objective.kind} has none: leave it out."
                raise OptionError(option, given[option], why)
