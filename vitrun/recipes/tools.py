"""Recipes of the commands that make no run."""

from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from vitrun.recipes.base import NonEmpty, frozen_dataclass
from vitrun.recipes.data import Data

PublishedTable = Literal[  # one file each in vitrun/papers
    "table2", "table5", "table6", "table7", "table8", "vtab", "replications", "augreg", "timm", "better_vit",
    "pretraining", "masked", "bit", "baselines", "none",
]  # fmt: skip


@frozen_dataclass
class Compare:
    """Show finished runs beside the paper's published numbers."""

    runs: Path
    commands: tuple[Literal["pretrain", "finetune", "fewshot", "eval"], ...]  # those whose results are shown
    rows: tuple[str, ...]  # fields that distinguish the rows; empty, as the next two, for those of the published table
    columns: tuple[str, ...]  # fields that distinguish the columns
    values: NonEmpty[str]  # metrics of a result; each has a row of its own
    paper: PublishedTable
    save: Path  # where the table is written, as .csv and .json


@frozen_dataclass
class Quickstart:
    """Run the whole chain with a small model on the embedded data, in minutes."""

    runs: Path


@frozen_dataclass
class Export:
    """Write weights in the format of another library."""

    init: str
    init_weights: str  # of a file with several: auto (the averaged, as timm), ema, plain, or their name in it
    to: Literal["timm", "hf", "npz", "onnx"]
    path: Path | None  # None for the name of the model, in the working folder
    runs: Path


@frozen_dataclass
class ListModels:
    """List the models, with their sizes at a resolution."""

    res: PositiveInt
    classes: PositiveInt
    sort: Literal["name", "parameters", "gmac"]
    only: tuple[str, ...]  # show the models whose name or kind contains one of these; empty for all


@frozen_dataclass
class ListData:
    """List the data sets, with their sizes and sources; or describe what is in a folder."""

    name: str | None  # the row to show, ``vtab`` for the nineteen of VTAB; None for all
    data: Data | None  # the options of that data set, to look into its images; None to show its row
    save: Path  # where the keys of VTAB-1k's images are written, as JSON
