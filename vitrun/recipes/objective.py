"""Options of what a network is trained for: those of vitrun and of installed packages.

Beside its options each has ``kind``, the name of the objective; ``uses_labels``, whether the options of labels are read
(loss, smoothing, augment.mixup, head_bias); and ``check_model``, which raises ValueError for a model that it cannot
train.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field

from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.detection import Detection
from vitrun.recipes.model import Clip, Detector, IGpt, Model, ViT
from vitrun.recipes.prompts import find_prompts
from vitrun.runtime.plugins import load_plugins

Share = Annotated[float, Field(gt=0, le=1)]
Palette = Literal["kmeans", "even"]
PLUGIN_GROUP = "vitrun.objective_options"  # the entry points by which an installed package adds to OPTIONS


@frozen_dataclass
class Labels:
    """Predict the labels of an image."""

    kind: Literal["labels"]  # comes with objective=NAME

    uses_labels = True

    def check_model(self, model: Model) -> None:
        """Raise an OptionError for a model of two towers, and for one that finds objects."""
        if isinstance(model, Clip):
            why = f"needs a model with a head, and {model.name} has two towers: choose objective=contrastive."
            raise OptionError("objective", self.kind, why)
        if isinstance(model, Detector):
            why = f"needs a model that classifies images, and {model.name} finds objects in them: choose its body."
            raise OptionError("objective", self.kind, why)


@frozen_dataclass
class Masked:
    """Predict what corrupted patches showed, as the paper (arXiv 2010.11929, section 4.6 and appendix B.1.2)."""

    kind: Literal["masked"]  # comes with objective=NAME
    target: Literal["colour", "colours", "pixels"]  # of a patch: its mean colour, 4 by 4 mean colours, its pixels
    share: Share  # share of the patches that are corrupted
    mask: Annotated[float, Field(ge=0, le=1)]  # share of the corrupted patches that show the mask token
    other: Annotated[float, Field(ge=0, le=1)]  # share that shows another patch; the rest is unchanged

    uses_labels = False

    def __post_init__(self) -> None:
        if self.mask + self.other > 1:
            raise OptionError("mask", self.mask, f"with objective.other={self.other} is more than 1.")

    def check_model(self, model: Model) -> None:
        """Raise an OptionError unless the model is a pure ViT."""
        check_has_patches(self.kind, model)


@frozen_dataclass
class SimMim:
    """Predict masked patches, as transformers' ``ViTForMaskedImageModeling`` (SimMIM, arXiv 2111.09886)."""

    kind: Literal["simmim"]  # comes with objective=NAME
    share: Share  # share of the patches that are masked

    uses_labels = False

    def check_model(self, model: Model) -> None:
        """Raise an OptionError unless the model is a pure ViT."""
        check_has_patches(self.kind, model)


@frozen_dataclass
class Contrastive:
    """Tell which caption belongs to which image (CLIP, arXiv 2103.00020)."""

    kind: Literal["contrastive"]  # comes with objective=NAME
    # cross-entropy over the captions and the images of a step (CLIP), or binary cross-entropy of each pair (SigLIP)
    loss: Literal["softmax", "sigmoid"]
    # captions of a data set that has labels alone: the names of its classes in templates, as of vitrun eval prompts=
    prompts: str

    uses_labels = False

    def __post_init__(self) -> None:
        find_prompts(self.prompts)

    def check_model(self, model: Model) -> None:
        """Raise an OptionError unless the model has an image and a text tower."""
        if not isinstance(model, Clip):
            why = f"needs an image and a text tower, and {model.name} has none of texts: choose model=clip_b32."
            raise OptionError("objective", self.kind, why)


@frozen_dataclass
class Pixels:
    """Predict the colour of each pixel from those before it, as ImageGPT (Chen et al. 2020)."""

    kind: Literal["pixels"]  # comes with objective=NAME
    palette: Palette  # the colours: k-means of the training images' pixels, or evenly spaced ones

    uses_labels = False

    def check_model(self, model: Model) -> None:
        """Raise an OptionError unless the model is an ImageGPT."""
        check_reads_pixels(self.kind, model)


@frozen_dataclass
class PixelsBert:
    """Predict the colour of hidden pixels from all others, as ImageGPT's BERT objective (Chen et al. 2020)."""

    kind: Literal["pixels_bert"]  # comes with objective=NAME
    palette: Palette  # the colours: k-means of the training images' pixels, or evenly spaced ones
    share: Share  # probability with which each pixel is hidden

    uses_labels = False

    def check_model(self, model: Model) -> None:
        """Raise an OptionError unless the model is an ImageGPT."""
        check_reads_pixels(self.kind, model)


def check_reads_pixels(kind: str, model: Model) -> None:
    """Raise an OptionError if a model does not read the colours of pixels."""
    if not isinstance(model, IGpt):
        why = f"predicts colours of pixels, which {model.name} does not read: choose an ImageGPT, as model=igpt_s."
        raise OptionError("objective", kind, why)


def check_has_patches(kind: str, model: Model) -> None:
    """Raise an OptionError if a model does not cut images into patches."""
    if not isinstance(model, ViT) or model.stem:
        why = f"masks patches, and {model.name} has none: choose a pure vision transformer, as model=vit_b16."
        raise OptionError("objective", kind, why)


OPTIONS: dict[str, Any] = {
    "labels": Labels,
    "masked": Masked,
    "simmim": SimMim,
    "contrastive": Contrastive,
    "pixels": Pixels,
    "pixels_bert": PixelsBert,
    "detection": Detection,
}
if TYPE_CHECKING:
    Objective = Labels | Masked | SimMim | Contrastive | Pixels | PixelsBert | Detection
else:
    Objective = Annotated[Union[*OPTIONS.values(), *load_plugins(PLUGIN_GROUP, OPTIONS)], Field(discriminator="kind")]
