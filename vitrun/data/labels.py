"""How labels are read: as they are, as ReaL's lists, or as some of ImageNet's classes. One row of ``LABEL_MAPPINGS`` each."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sources import imagenet
from vitrun.data.sources.messages import abbreviate
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError

VALIDATION_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")  # a synset is eight digits too
MIN_AGREEMENT = (
    0.5  # of ReaL with the original labels: 0.9 where lists and images belong together, 0.001 where they do not
)


def keep_labels(data: recipes.Files, split: Split) -> Split:
    """The split as it is."""
    return split


def use_real_labels(data: recipes.Files, split: Split) -> Split:
    """The split with the labels that ReaL accepts (arXiv 2006.07159), matched by the number in each file's name.

    The lists are ``data.real``, or a column of the data set, or ``real.json`` beside the images, or the published ones.
    """
    accepted = split.accepted
    if data.real is not None or accepted is None:
        accepted = pad_labels(match_by_number(data, split))
    listed = accepted[:, 0] >= 0
    agreement = (accepted[listed] == split.labels[listed, None]).any(1).mean() if listed.any() else 0.0
    if agreement < MIN_AGREEMENT:
        raise UserError(
            f"{data.group}={data.name}: ReaL's lists hold the original label of {agreement:.1%} of the images, "
            "where it should be about 90%: lists and images do not belong together.",
            ExitCode.DATA,
        )
    return replace(split, accepted=accepted)


def match_by_number(data: recipes.Files, split: Split) -> list[list[int]]:
    """The list of each image."""
    beside = data.path / "real.json" if data.path else None
    file = data.real or (beside if beside and beside.exists() else None)
    numbers = []
    for key in split.keys:
        found = VALIDATION_NUMBER.search(key)
        if found is None or not 1 <= int(found[1]) <= imagenet.VALIDATION_IMAGES:
            raise UserError(
                f"{data.group}={data.name}: {key} is no name as ILSVRC2012_val_00000001.JPEG, by whose number ReaL's lists are "
                "matched: use a copy that kept the file names of ImageNet's validation images.",
                ExitCode.DATA,
            )
        numbers.append(int(found[1]))
    lists = read_real_lists(data, file)
    return [lists[number - 1] for number in numbers]


def read_real_lists(data: recipes.Files, file: Path | None) -> list[list[int]]:
    """The 50,000 lists of a file, or the published ones."""
    try:
        lists = imagenet.read_real_json(file)
        labels = [label for labels in lists for label in labels]
        sound = len(lists) == imagenet.VALIDATION_IMAGES and all(0 <= label < imagenet.CLASSES for label in labels)
    except (OSError, ValueError, TypeError):
        sound = False
    if not sound:
        raise UserError(
            f"must be ReaL's real.json, a list of {imagenet.VALIDATION_IMAGES:,} lists of labels from 0 to "
            f"{imagenet.CLASSES - 1}. Leave it out to use the published one.",
            ExitCode.DATA,
            f"{data.group}.real",
            str(file),
        )
    return lists


def pad_labels(lists: list[list[int]]) -> np.ndarray:
    """N lists of up to A labels as [N, A], -1 where there are fewer."""
    array = np.full((len(lists), max(1, *map(len, lists))), -1, dtype=np.int64)
    for row, labels in zip(array, lists):
        row[: len(labels)] = labels
    return array


def map_to_imagenet_200(data: recipes.Files, split: Split) -> Split:
    """The split with labels among the 200 classes of ImageNet that it has, whichever way its source counts them."""
    chosen, synsets = imagenet.read_subset_labels(data.labels).tolist(), imagenet.read_synsets()
    names, numbered = split.classes, all(name.isdigit() for name in split.classes)
    if set(names) <= set(synsets):
        own = [synsets.index(name) for name in names]
    elif len(names) == len(chosen) or numbered and len(names) < len(chosen):
        own = chosen
    elif len(names) == imagenet.CLASSES or numbered:
        own = range(imagenet.CLASSES)
    else:
        raise UserError(
            f"{data.group}={data.name}: its classes are {abbreviate(names)}, not those of this set, which its authors name "
            f"{synsets[chosen[0]]}, {synsets[chosen[1]]} ...: give the folder that they publish.",
            ExitCode.DATA,
        )
    place = {label: n for n, label in enumerate(chosen)}
    labels = np.array([place.get(label, -1) for label in own])[split.labels]
    if labels.min(initial=0) < 0:
        key = split.keys[int(labels.argmin())]
        raise UserError(
            f"{data.group}={data.name}: {key} is of none of the {len(chosen)} classes of this set.", ExitCode.DATA
        )
    imagenet_labels = np.array(chosen)[:, None]
    classes = tuple(synsets[label] for label in chosen)
    return replace(split, labels=labels, classes=classes, imagenet_labels=imagenet_labels)


def map_objectnet(data: recipes.Files, split: Split) -> Split:
    """The images of the classes that ImageNet has too, with the classes of ImageNet that stand for each.

    The mapping is that of the four files in ``mappings`` of the official archive.
    """
    folder = (data.path or Path()) / "mappings"
    try:
        meanings = read_objectnet_mappings(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{data.group}={data.name}: cannot read which of its classes ImageNet has from {folder} ({type(error).__name__}: "
            f"{error}). Expected the folder objectnet-1.0 of the official archive, with images and mappings.",
            ExitCode.DATA,
        ) from None
    names = sorted(meanings)
    place = np.array([names.index(name) if name in meanings else -1 for name in split.classes])
    most = max(map(len, meanings.values()))
    imagenet_labels = np.array([(meanings[name] * most)[:most] for name in names])
    shared = split.select(np.flatnonzero(place[split.labels] >= 0))
    return replace(shared, labels=place[shared.labels], classes=tuple(names), imagenet_labels=imagenet_labels)


def read_objectnet_mappings(folder: Path) -> dict[str, list[int]]:
    """The labels of ImageNet that stand for each image folder of ObjectNet; folders without any are left out."""

    def read(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    folder_of = {name: folder for folder, name in json.loads(read("folder_to_objectnet_label.json")).items()}
    label_of_id = {number: int(label) for label, number in json.loads(read("pytorch_to_imagenet_2012_id.json")).items()}
    lines = read("imagenet_to_label_2012_v2").splitlines()
    label_of = {line.strip(): label_of_id[number] for number, line in enumerate(lines)}
    shared = json.loads(read("objectnet_to_imagenet_1k.json"))
    return {folder_of[name]: [label_of[one] for one in names.split("; ")] for name, names in shared.items()}


LABEL_MAPPINGS = {
    "original": keep_labels,
    "real": use_real_labels,
    "imagenet_a": map_to_imagenet_200,
    "imagenet_r": map_to_imagenet_200,
    "objectnet": map_objectnet,
}
