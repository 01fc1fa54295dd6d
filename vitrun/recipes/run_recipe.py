"""What every command that makes a run is told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from vitrun.recipes.base import frozen_dataclass
from vitrun.recipes.view import View

RECIPE_FILE = "recipe.yaml"  # the recipe in the folder of a run, by which the folder is known
DEFAULT_RES = 224  # pixels, where neither a recipe nor weights name a resolution


@frozen_dataclass
class RunRecipe:
    """What every command that makes a run is told."""

    res: Annotated[int, Field(ge=8)] | None
    view: View
    batch: PositiveInt
    precision: Literal["auto", "fp32", "bf16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    runs: Path  # the folder that holds all run folders

    # These change how a run is carried out, not what it computes: the run's name does not depend on them.
    execution_options = ("device", "runs")
