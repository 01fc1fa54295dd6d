"""SUN397: scenes in nested folders, split by the three lists that ship with tensorflow_datasets."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "sun397",
    "SUN397/<letter>/<class>/sun_*.jpg and SUN397/ClassName.txt of SUN397.tar.gz, and beside SUN397 the lists "
    "sun397_tfds_{tr,va,te}.txt of the package tensorflow_datasets",
    "https://vision.princeton.edu/projects/2010/SUN/",
    archives=("SUN397",),
    details=" (pip install --no-deps tensorflow-datasets, or copy them from there)",
)
SPLIT_LISTS = {"train": "tr", "validation": "va", "test": "te"}


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return a split of tensorflow_datasets, keyed ``/<letter>/<class>/<file>``, at the images' original size."""
    names = ARCHIVE.find(root, "ClassName.txt")
    classes = tuple(ARCHIVE.read_lines(names))
    if len(classes) != 397:
        raise ARCHIVE.damaged_error(names, f"it has {len(classes)} names, not 397")
    path, keys = find_list(root, split), read_keys(root, split)
    numbers = {name: number for number, name in enumerate(classes)}
    with ARCHIVE.explain_errors(path):
        labels = np.array([numbers[key.rpartition("/")[0]] for key in keys], dtype=np.int64)
    return OriginalSplit(
        keys=keys,
        labels={"label": labels},
        classes={"label": classes},
        location=f"{names.parent} as listed in {path}",
        **ARCHIVE.image_files(names.parent, [key.lstrip("/") for key in keys]),
    )


def read_keys(root: Path, split: str) -> list[str]:
    """Return the keys of a split."""
    return ARCHIVE.read_lines(find_list(root, split))


def find_list(root: Path, split: str) -> Path:
    """Return a list of tensorflow_datasets: the one beside the images, else that of the installed package."""
    name = f"sun397_tfds_{SPLIT_LISTS[split]}.txt"
    package = find_spec("tensorflow_datasets")  # finds it without running it
    installed = Path(package.origin).parent / "image_classification" / name if package and package.origin else None
    if (
        installed
        and installed.exists()
        and not any((folder / name).exists() for folder in ARCHIVE.search_folders(root))
    ):
        return installed
    return ARCHIVE.find(root, name)
