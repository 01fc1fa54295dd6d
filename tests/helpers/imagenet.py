"""Made-up validation images of ImageNet with ReaL labels."""

from dataclasses import replace
from pathlib import Path

from helpers.images import make_png
from vitrun import data
from vitrun.data.sources import imagenet
from vitrun.recipes import tables

SYNSETS = imagenet.read_synsets()
REAL_LABELS = imagenet.read_real_json(None)
NUMBERS = [n for n in range(1, 60) if REAL_LABELS[n - 1]][:20] + [n for n in range(1, 99) if not REAL_LABELS[n - 1]][:3]
LABELS = [(REAL_LABELS[number - 1] or [7])[0] for number in NUMBERS]


def write_validation_set(root: Path, names: list[str], labels: list[int], **columns) -> Path:
    """Write a parquet file of validation images with the given names and labels."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(SYNSETS))})
    images = [{"bytes": make_png(n), "path": name} for n, name in enumerate(names)]
    table = datasets.Dataset.from_dict({"image": images, "label": labels}, features)
    for name, values in columns.items():
        table = table.add_column(name, values)
    root.mkdir(exist_ok=True)
    table.to_parquet(root / "validation-00000-of-00001.parquet")
    return root


def validation_file_name(number: int) -> str:
    """Return the name of a validation image."""
    return f"val/ILSVRC2012_val_{number:08d}.JPEG"


def open_data_row(name: str, root: Path, **changes) -> data.Split:
    """Open the test images of a row of the table in a folder."""
    return data.open_split(replace(tables.load_data_row(name, path=root), **changes), "test")


def valid_labels_by_file(split: data.Split) -> dict[str, set[int]]:
    """Return the labels that count as correct, by file name."""
    return {
        key.split("/")[-1]: {n for n in row if n >= 0} for key, row in zip(split.keys, split.correct_labels.tolist())
    }
