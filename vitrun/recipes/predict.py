"""Recipe of ``vitrun predict``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.prompts import find_prompts
from vitrun.recipes.run_recipe import NetworkRecipe

MAX_TOP = 1000  # classes of an image
PREDICTION_SUFFIXES = (".csv", ".jsonl", ".parquet")


@frozen_dataclass
class Predict(NetworkRecipe):
    """Classify images, or find objects in them: files, folders and globs."""

    init: str  # the weights: latest, a run, a file, a folder, timm:TAG, hf:ORG/NAME or random:MODEL
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    # files, folders with all images below them, and globs, which may also be typed without paths=; - reads them from
    # standard input, one per line or separated by NUL
    paths: tuple[str, ...]
    # classes and texts about them, for a CLIP: names as in 'cat, dog', a file with names and templates, or the name of
    # a set with prompts, as imagenet
    prompts: str
    top: Annotated[int, Field(ge=1, le=MAX_TOP)]  # likeliest classes of each image
    min_score: Annotated[float, Field(ge=0, le=1)]  # least probability of an object that a detector lists
    draw: Path | None  # folder for copies of the images with the boxes of a detector; null for none
    exif: bool  # turn images as their EXIF orientation says
    save: Path | None  # file to write: NAME.csv, NAME.jsonl or NAME.parquet; null to print the predictions
    force: bool  # replace the file that vitrun saved there; nothing else is ever replaced

    def __post_init__(self) -> None:
        find_prompts(self.prompts)
        if self.save is not None and self.save.suffix not in PREDICTION_SUFFIXES:
            raise OptionError("save", str(self.save), f"must end in {', '.join(PREDICTION_SUFFIXES)}.")
