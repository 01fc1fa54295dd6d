"""ImageNet's classes, subsets of them and ReaL's labels, read from files that timm ships."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vitrun.runtime.files import parse_json, read_small_text

CLASSES = 1000
SYNSET = re.compile(r"n\d{8}")
VALIDATION_IMAGES = 50_000  # numbered from 1 in their names


def locate_timm_file(name: str) -> Path:
    """Return the path of a file of class lists in the installed timm."""
    package = find_spec("timm")  # finds it without importing it
    assert package and package.origin
    return Path(package.origin).parent / "data" / "_info" / name


def read_synsets() -> tuple[str, ...]:
    """Return the 1,000 classes as WordNet ids, such as ``n01440764``, in order of the label."""
    return tuple(locate_timm_file("imagenet_synsets.txt").read_text(encoding="utf-8").split())


def name_by_synset(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return ImageNet's synsets if ``names`` are its classes in words, as Hugging Face has them; else ``names``."""
    if len(names) != CLASSES:
        return names
    synsets = read_synsets()
    return synsets if names == name_in_words(synsets) else names


def name_in_words(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``tench, Tinca tinca`` for ``n01440764`` where ``names`` are WordNet ids; other names as they are."""
    if not all(SYNSET.fullmatch(name) for name in names):
        return names
    lines = locate_timm_file("imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    words = dict(line.split("\t", 1) for line in lines)
    return tuple(words.get(name, name) for name in names)


def read_subset_labels(name: str) -> np.ndarray:
    """Return the sorted labels of the 200 classes of ``imagenet_a`` or ``imagenet_r``: [200]."""
    return np.array(locate_timm_file(f"{name}_indices.txt").read_text(encoding="utf-8").split(), dtype=np.int64)


def read_real_json(file: Path | None) -> list[list[int]]:
    """Return ReaL's list of labels of each validation image, from a file or as published.

    Source: ``real.json`` of google-research/reassessed-imagenet, which timm ships byte for byte.
    """
    text = read_small_text(file or locate_timm_file("imagenet_real_labels.json"), "utf-8-sig")
    labels: list[list[int]] = parse_json(text)
    return labels
