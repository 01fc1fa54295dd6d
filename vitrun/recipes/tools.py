"""Recipes of the commands that make no run."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from vitrun.recipes.base import Classes, Pixels, frozen_dataclass
from vitrun.recipes.data import Data
from vitrun.recipes.view import Augment

PublishedTable = Literal[  # one file each in vitrun/papers
    "table2", "table5", "table6", "table7", "table8", "table9", "replications", "augreg", "timm", "better_vit",
    "pretraining", "masked", "bit", "baselines", "clip", "igpt", "aaconv", "sasa", "noisy_student", "detection",
]  # fmt: skip
PublishedFigure = Literal["figure3", "figure4", "figure5"]


@frozen_dataclass
class Compare:
    """Show finished runs side by side, and beside published numbers."""

    runs: Path  # the folder of all run folders
    only: tuple[str, ...]  # names of runs, with * and ?, or parts of names, as in only=*-cifar10-*; [] for all
    commands: tuple[Literal["pretrain", "finetune", "fewshot", "eval"], ...]  # whose runs are shown; [] for all
    values: tuple[str, ...]  # metrics of a result, as in top1,shot5; [] for the most important of each run
    top: PositiveInt | None  # runs that are shown of each data set, the best; null for all
    # options that distinguish the rows of one table of all runs; [] for a table for each data set
    rows: tuple[str, ...]
    columns: tuple[str, ...]  # options that distinguish its columns; [] for those of the published table
    # auto is your runs, with the published number of the same thing where there is one; none is your runs alone; else a
    # published table, or figure
    paper: Literal["auto", "none", PublishedTable, PublishedFigure]
    save: Path | None  # write NAME.csv and NAME.json, with every number; or one of them; null for no file
    force: bool  # replace the files that vitrun saved there; nothing else is ever replaced


@frozen_dataclass
class Report:
    """Write a page about runs: one HTML file that needs no other, and no network."""

    runs: Path  # the folder of all run folders
    # whose runs are shown; [] for all
    commands: tuple[Literal["pretrain", "finetune", "fewshot", "eval"], ...]
    only: tuple[str, ...]  # parts of the names of runs, or patterns such as *-cifar10-*; [] for all runs
    # what runs must have, as in data=cifar10 or optim.lr=0.1; values may be patterns; [] for any
    where: tuple[str, ...]
    # data sets of which the best run is shown with confusion matrix, calibration and mistakes
    detailed: Annotated[int, Field(ge=0, le=50)]
    save: Path  # the file to write
    force: bool  # replace the file that vitrun saved there; nothing else is ever replaced


@frozen_dataclass
class Quickstart:
    """Run the whole chain with a small model on the embedded data, in minutes."""

    runs: Path  # the folder of all run folders


@frozen_dataclass
class Export:
    """Write weights in the format of another library."""

    init: str  # the weights: latest, a run, a file, a folder, timm:TAG, hf:ORG/NAME or random:MODEL
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    to: Literal["timm", "hf", "open_clip", "npz", "onnx"]  # the library; hf is transformers, npz the JAX code
    path: Path | None  # the file or folder to write; null for the name of the model, in the working folder
    force: bool  # replace an export that vitrun wrote there; nothing else is ever replaced
    runs: Path  # the folder of all run folders


@frozen_dataclass
class ListModels:
    """List the models, with their sizes at a resolution."""

    res: Pixels  # side of the images for which the cost is counted, in pixels
    classes: Classes  # outputs of the head
    sort: Literal["name", "parameters", "gmac"]  # the order of the rows
    only: tuple[str, ...]  # show the models whose name or kind contains one of these; [] for all


@frozen_dataclass
class ListData:
    """List the data sets, with their sizes and sources; or describe what is in a folder."""

    name: str | None  # the data set to show, vtab for the nineteen of VTAB; null for all. name= may be left out
    data: Data | None  # the options of that data set, to look into its images; null to show its row
    # write a page with so many training images as training sees them and so many test images, and what is in the data:
    # counts of classes, sizes, duplicates, unreadable files; 0 for no page
    show: Annotated[int, Field(ge=0, le=64)]
    res: Pixels | None  # side of the views on the page, in pixels; null for the images' median shorter side, up to 224
    augment: Augment  # of the training images on the page, as of pretrain
    # file of the page, null for data.html; of vtab the file of the keys of its images, as JSON, null for none
    save: Path | None
    force: bool  # replace the file that vitrun saved there; nothing else is ever replaced
