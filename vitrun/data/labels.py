"""Replacement of a data set's labels: by ReaL's lists, by some of ImageNet's classes, or none."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sources import imagenet
from vitrun.data.sources.messages import abbreviate, typed_override
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import parse_json, read_small_text

VALIDATION_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")  # synsets have eight digits too
# The share of images whose original label is among ReaL's: 0.9 if lists and images belong together, else 0.001
MIN_AGREEMENT = 0.5


def keep_labels(data: recipes.Files, split: Split) -> Split:
    """Return the split unchanged."""
    return split


def use_real_labels(data: recipes.Files, split: Split) -> Split:
    """Return the split with ReaL's labels (arXiv 2006.07159), matched by the number in each file's name.

    They are read from ``data.real`` or a column of the data set or ``real.json`` beside the images; else they are the
    published ones. Raise UserError if they do not belong to these images.
    """
    accepted = split.accepted
    if data.real is not None or accepted is None:
        accepted = pad_labels(match_by_number(data, split))
    labelled = accepted[:, 0] >= 0
    agreement = (accepted[labelled] == split.labels[labelled, None]).any(1).mean() if labelled.any() else 0.0
    if agreement < MIN_AGREEMENT:
        raise UserError(
            f"{typed_override(data)}: ReaL's lists contain the original label of {agreement:.1%} of the images "
            "instead of about 90%: lists and images do not belong together.",
            ExitCode.DATA,
        )
    return replace(split, accepted=accepted)


def match_by_number(data: recipes.Files, split: Split) -> list[list[int]]:
    """Return ReaL's list of labels of each image; raise UserError if a file's name has no number."""
    default = data.path / "real.json" if data.path else None
    file = data.real or (default if default and default.exists() else None)
    numbers = []
    for key in split.keys:
        match = VALIDATION_NUMBER.search(key)
        if match is None or not 1 <= int(match[1]) <= imagenet.VALIDATION_IMAGES:
            raise UserError(
                f"{typed_override(data)}: {key} is not named like ILSVRC2012_val_00000001.JPEG, but ReaL's lists are "
                "matched by this number. Use a copy with the original file names of ImageNet's validation images.",
                ExitCode.DATA,
            )
        numbers.append(int(match[1]))
    lists = read_real_lists(data, file)
    return [lists[number - 1] for number in numbers]


def read_real_lists(data: recipes.Files, file: Path | None) -> list[list[int]]:
    """Return the 50,000 lists of a file, or the published ones; raise UserError if it does not have them."""
    try:
        lists = imagenet.read_real_json(file)
        labels = [label for labels in lists for label in labels]
        valid = len(lists) == imagenet.VALIDATION_IMAGES and all(0 <= label < imagenet.CLASSES for label in labels)
    except (OSError, ValueError, TypeError):
        valid = False
    if not valid:
        raise UserError(
            f"must be ReaL's real.json, a list of {imagenet.VALIDATION_IMAGES:,} lists of labels from 0 to "
            f"{imagenet.CLASSES - 1}. Leave it out to use the published one.",
            ExitCode.DATA,
            f"{data.group}.real",
            str(file),
        )
    return lists


def pad_labels(lists: list[list[int]]) -> np.ndarray:
    """Return N lists of up to A labels as an array [N, A], padded with -1."""
    array = np.full((len(lists), max(1, *map(len, lists))), -1, dtype=np.int64)
    for row, labels in zip(array, lists):
        row[: len(labels)] = labels
    return array


def map_to_imagenet_200(data: recipes.Files, split: Split) -> Split:
    """Return the split with labels 0 to 199, for the 200 classes of ImageNet that it has.

    Its source may name the classes by synset, or number them within the 200 or within all 1,000.
    """
    subset, synsets = imagenet.read_subset_labels(data.labels).tolist(), imagenet.read_synsets()
    names, numbered = split.classes, all(name.isdigit() for name in split.classes)
    if set(names) <= set(synsets):
        imagenet_label = [synsets.index(name) for name in names]
    elif len(names) == len(subset) or numbered and len(names) < len(subset):
        imagenet_label = subset
    elif len(names) == imagenet.CLASSES or numbered:
        imagenet_label = list(range(imagenet.CLASSES))
    else:
        raise UserError(
            f"{typed_override(data)}: its classes are {abbreviate(names)} instead of {synsets[subset[0]]}, "
            f"{synsets[subset[1]]} ... as published: give the folder that its authors publish.",
            ExitCode.DATA,
        )
    positions = {label: n for n, label in enumerate(subset)}
    labels = np.array([positions.get(label, -1) for label in imagenet_label])[split.labels]
    if labels.min(initial=0) < 0:
        key = split.keys[int(labels.argmin())]
        raise UserError(
            f"{typed_override(data)}: {key} is in none of its {len(subset)} published classes.", ExitCode.DATA
        )
    imagenet_labels = np.array(subset)[:, None]
    classes = tuple(synsets[label] for label in subset)
    return replace(split, labels=labels, classes=classes, imagenet_labels=imagenet_labels)


def map_objectnet(data: recipes.Files, split: Split) -> Split:
    """Return the images of the classes that ImageNet has too, with the ImageNet labels of each class.

    The mapping is read from the four files in ``mappings`` of the official archive.
    """
    folder = (data.path or Path()) / "mappings"
    try:
        meanings = read_objectnet_mappings(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{typed_override(data)}: cannot read the mapping to ImageNet's classes in {folder} "
            f"({type(error).__name__}: {error}). Expected the folder objectnet-1.0 of the official archive, with "
            "images and mappings.",
            ExitCode.DATA,
        ) from None
    names = sorted(meanings)
    new_label = np.array([names.index(name) if name in meanings else -1 for name in split.classes])
    most = max(map(len, meanings.values()))
    imagenet_labels = np.array([(meanings[name] * most)[:most] for name in names])
    shared = split.select(np.flatnonzero(new_label[split.labels] >= 0))
    return replace(shared, labels=new_label[shared.labels], classes=tuple(names), imagenet_labels=imagenet_labels)


def read_objectnet_mappings(folder: Path) -> dict[str, list[int]]:
    """Return the ImageNet labels that mean the same as each image folder of ObjectNet; omit folders without any."""

    def read_text(name: str) -> str:
        return read_small_text(folder / name, "utf-8-sig")

    folder_of = {name: folder for folder, name in parse_json(read_text("folder_to_objectnet_label.json")).items()}
    label_of_id = {
        number: int(label) for label, number in parse_json(read_text("pytorch_to_imagenet_2012_id.json")).items()
    }
    lines = read_text("imagenet_to_label_2012_v2").splitlines()
    label_of = {line.strip(): label_of_id[number] for number, line in enumerate(lines)}
    shared = parse_json(read_text("objectnet_to_imagenet_1k.json"))
    return {folder_of[name]: [label_of[synset] for synset in names.split("; ")] for name, names in shared.items()}


LABEL_MAPPINGS = {  # by data.labels
    "original": keep_labels,
    "real": use_real_labels,
    "imagenet_a": map_to_imagenet_200,
    "imagenet_r": map_to_imagenet_200,
    "objectnet": map_objectnet,
}
