"""Options of every command that makes a run."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from vitrun.recipes.base import frozen_dataclass
from vitrun.recipes.view import View

RECIPE_FILE = "recipe.yaml"  # the recipe in the folder of a run, by which the folder is known
DEFAULT_RES = 224  # pixels, if neither the recipe nor the weights give a resolution


@frozen_dataclass
class RunRecipe:
    """Options of every command that makes a run."""

    res: Annotated[int, Field(ge=8)] | None
    view: View
    batch: PositiveInt
    precision: Literal["auto", "fp32", "bf16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    runs: Path  # the folder of all run folders

    # These change how a run is executed, not what it computes: its name does not depend on them.
    execution_options: ClassVar[tuple[str, ...]] = ("device", "runs")
