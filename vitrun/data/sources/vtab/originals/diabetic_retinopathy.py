"""Kaggle's Diabetic Retinopathy: photographs processed as ``btgraham-300``, and their grades in two CSV files."""

import csv
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
from PIL import Image

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "diabetic_retinopathy",
    "train/<id>_<left|right>.jpeg and test/<id>_<left|right>.jpeg, processed as the configuration btgraham-300 of "
    "tensorflow_datasets does, trainLabels.csv and retinopathy_solution.csv",
    "https://www.kaggle.com/c/diabetic-retinopathy-detection/data",
    account="an account at Kaggle is needed",
    details=" (to process: radius 300 pixels, local average subtracted, cropped to 0.9 of the radius; the solution is "
    "at https://storage.googleapis.com/kaggle-forum-message-attachments/90528/2877/retinopathy_solution.csv)",
)
USAGES = {"validation": "Public", "test": "Private"}  # split -> the leaderboard in the solution's column Usage
MAX_SIDE = 540  # pixels of a processed image at most: twice 0.9 of the radius
GRADES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return the processed photographs of a split, keyed by file name without ``.jpeg``."""
    path = find_list(root, split)
    keys, grades = read_grades(path, split)
    folder = ARCHIVE.find(root, "train" if split == "train" else "test")
    files = ARCHIVE.image_files(folder, [f"{key}.jpeg" for key in keys])
    original = OriginalSplit(keys, {"label": grades}, {"label": GRADES}, location=str(path), **files)
    check_processed(folder / f"{keys[0]}.jpeg", bytes(original.image(0)))
    return original


def read_keys(root: Path, split: str) -> list[str]:
    """Return the keys of a split."""
    return read_grades(find_list(root, split), split)[0]


def find_list(root: Path, split: str) -> Path:
    """Return the file that lists a split; one file lists both validation and test."""
    return ARCHIVE.find(root, "trainLabels.csv" if split == "train" else "retinopathy_solution.csv")


def read_grades(path: Path, split: str) -> tuple[list[str], np.ndarray]:
    """Return the keys of a split in a CSV file, and their grades: [N] int64."""
    with ARCHIVE.explain_errors(path):
        lines = csv.DictReader(StringIO(ARCHIVE.read_text(path), newline=""))
        rows = [row for row in lines if split == "train" or row["Usage"] == USAGES[split]]
        return [row["image"] for row in rows], np.array([int(row["level"]) for row in rows], dtype=np.int64)


def check_processed(path: Path, data: bytes) -> None:
    """Raise a UserError if an image is larger than a processed one can be."""
    with ARCHIVE.explain_errors(path), Image.open(BytesIO(data)) as image:
        width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise ARCHIVE.damaged_error(
            path, f"it is {width} by {height} pixels, but processed images have {MAX_SIDE} at most"
        )
