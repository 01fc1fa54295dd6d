"""What a recipe says of what a network is trained for."""

from typing import Annotated, Literal

from pydantic import Field

from vitrun.recipes.base import frozen_dataclass

Share = Annotated[float, Field(gt=0, le=1)]


@frozen_dataclass
class Labels:
    """To tell the label of an image."""

    kind: Literal["labels"]


@frozen_dataclass
class Masked:
    """To tell what corrupted patches showed, as the paper (arXiv 2010.11929, section 4.6 and appendix B.1.2)."""

    kind: Literal["masked"]
    target: Literal["colour", "colours", "pixels"]  # of a patch: its mean colour, 4 by 4 mean colours, or its pixels
    share: Share  # of the patches that are corrupted
    mask: Annotated[float, Field(ge=0, le=1)]  # share of these that become the mask token,
    other: Annotated[float, Field(ge=0, le=1)]  # and that become another patch; the rest stays as it is

    def __post_init__(self):
        if self.mask + self.other > 1:
            raise ValueError(
                f"objective.mask={self.mask} and objective.other={self.other} cannot be: together they are at most 1"
            )


@frozen_dataclass
class SimMim:
    """To paint masked patches, as transformers' ``ViTForMaskedImageModeling`` (SimMIM, arXiv 2111.09886)."""

    kind: Literal["simmim"]
    share: Share  # of the patches that are masked


Objective = Annotated[Labels | Masked | SimMim, Field(discriminator="kind")]
