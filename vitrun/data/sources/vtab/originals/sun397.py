"""SUN397: scenes in nested folders, split by the three lists that ship with tensorflow_datasets."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

PUBLISHED = Published(
    "sun397",
    "SUN397/<letter>/<class>/sun_*.jpg and SUN397/ClassName.txt of SUN397.tar.gz, and beside SUN397 the lists "
    "sun397_tfds_{tr,va,te}.txt of the package tensorflow_datasets (pip install --no-deps tensorflow-datasets, or "
    "copy them from there)",
    "https://vision.princeton.edu/projects/2010/SUN/",
    archives=("SUN397",),
)
LISTS = {"train": "tr", "validation": "va", "test": "te"}


def read(root: Path, split: str) -> Original:
    """The images of a split of tensorflow_datasets, keyed ``/<letter>/<class>/<file>``, at their original size."""
    names = PUBLISHED.find(root, "ClassName.txt")
    classes = tuple(PUBLISHED.lines(names))
    if len(classes) != 397:
        raise PUBLISHED.broken(names, f"it has {len(classes)} names, not 397")
    path, keys = partition(root, split), keys_of(root, split)
    numbers = {name: number for number, name in enumerate(classes)}
    with PUBLISHED.reading(path):
        found = np.array([numbers[key.rpartition("/")[0]] for key in keys], dtype=np.int64)
    return Original(
        keys=keys,
        labels={"label": found},
        classes={"label": classes},
        where=f"{names.parent} as listed in {path}",
        **PUBLISHED.images(names.parent, [key.lstrip("/") for key in keys]),
    )


def keys_of(root: Path, split: str) -> list[str]:
    """The keys of a split."""
    return PUBLISHED.lines(partition(root, split))


def partition(root: Path, split: str) -> Path:
    """A list of tensorflow_datasets: the one that lies with the images, or that of the installed package."""
    name = f"sun397_tfds_{LISTS[split]}.txt"
    package = find_spec("tensorflow_datasets")  # which finds it without running it
    installed = Path(package.origin).parent / "image_classification" / name if package else None
    if installed and installed.exists() and not any((place / name).exists() for place in PUBLISHED.places(root)):
        return installed
    return PUBLISHED.find(root, name)
