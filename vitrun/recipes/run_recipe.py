"""Options of every command that makes a run."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vitrun.recipes.base import Batch, frozen_dataclass
from vitrun.recipes.view import View

RECIPE_FILE = "recipe.yaml"  # the recipe in the folder of a run, by which the folder is known
DEFAULT_RES = 224  # pixels, if neither the recipe nor the weights give a resolution


@frozen_dataclass
class NetworkRecipe:
    """Options of every command that shows images to a network."""

    # side of the images that the network takes, in pixels; null for that of the weights, else 224
    res: Annotated[int, Field(ge=8, le=16_384)] | None
    view: View  # resizing and cropping of test images
    batch: Batch  # images in a step, on all ranks together
    # number format to compute in; auto for bf16 where that is faster; tf32, on NVIDIA GPUs, for float32 whose products
    # are of numbers rounded to 10 bits
    precision: Literal["auto", "fp32", "tf32", "bf16"]
    device: Literal["auto", "cpu", "cuda", "mps"]  # where to compute; auto for the fastest there is
    runs: Path  # the folder of all run folders


@frozen_dataclass
class RunRecipe(NetworkRecipe):
    """Options of every command that makes a run."""

    report: bool  # write report.html beside the result, a page about this run
    # programs that show the metrics too, beside the files of the run; each is an extra to install
    track: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...]

    # These change how a run is executed, not what it computes: its name does not depend on them.
    execution_options: ClassVar[tuple[str, ...]] = ("device", "runs", "report", "track")
