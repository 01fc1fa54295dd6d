"""ImageNet's classes, and the lists that sets of its classes need, read from the files that timm ships."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

CLASSES = 1000
VALIDATION_IMAGES = 50_000  # of the validation part, numbered from 1 in their names


def locate_timm_file(name: str) -> Path:
    """A file of class lists in the installed timm."""
    return Path(find_spec("timm").submodule_search_locations[0]) / "data" / "_info" / name


def read_synsets() -> tuple[str, ...]:
    """The 1,000 classes by their WordNet names, as in ``n01440764``, in order of the label."""
    return tuple(locate_timm_file("imagenet_synsets.txt").read_text(encoding="utf-8").split())


def read_subset_labels(name: str) -> np.ndarray:
    """The labels of the 200 classes of ``imagenet_a`` or ``imagenet_r``, going up: [200]."""
    return np.array(locate_timm_file(f"{name}_indices.txt").read_text(encoding="utf-8").split(), dtype=np.int64)


def read_real_json(file: Path | None) -> list[list[int]]:
    """ReaL's lists of labels by the image's number less one: those of a file, or the published ones.

    Source: ``real.json`` of google-research/reassessed-imagenet, which timm ships byte for byte.
    """
    return json.loads((file or locate_timm_file("imagenet_real_labels.json")).read_text(encoding="utf-8"))
