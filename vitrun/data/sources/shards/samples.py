"""The samples of a shard: consecutive members with the same name up to its first dot, as in WebDataset."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO

from vitrun.data.sources.messages import abbreviate
from vitrun.data.sources.shards.captions import locate_captions
from vitrun.data.sources.shards.members import Parts, parse_json, read_part, show_start
from vitrun.data.sources.shards.tar import read_members
from vitrun.runtime.files import MAX_BYTES

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm")
MEMBER_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")

MAX_LABELS = 1000  # of an image: all images of a shard get as much memory as the one with most

# Name, offset, size and labels of an image; or in place of labels what ``locate_captions`` returns
Sample = tuple[str, int, int, list[int]]


@dataclass(frozen=True)
class Wanted:
    """The members of a sample that are read."""

    # the extension of the member with the class, else a field of the json member; empty to read none
    label: str = "cls"
    image: str | None = None  # the extension of the image; None for the only one
    caption: str | None = None  # of the member with captions, else a field of the json member; None to read labels


@dataclass
class PassedOver:
    """The files in shards that are not read: neither a sample's image nor its label, but an image or no sample."""

    count: int = 0
    example: str = ""

    def add(self, name: str) -> None:
        """Count a file."""
        self.count += 1
        self.example = self.example or name


def read_samples(file: BinaryIO, size: int, wanted: Wanted, passed_over: PassedOver) -> Iterator[Sample]:
    """Yield the samples of a tar of ``size`` bytes; raise ValueError if one of them is not complete."""
    members = name_members(file, size, passed_over)
    seen: set[str] = set()
    for key, group in groupby(members, key=itemgetter(0)):
        parts: Parts = {}
        for _, extension, offset, length in group:
            if extension.lower() in parts:
                raise ValueError(f"{key}.{extension} is in it twice")
            parts[extension.lower()] = offset, length
        if key in seen:
            raise ValueError(f"{key} is in it twice: rename or remove one of the two samples")
        seen.add(key)
        if is_no_sample(file, parts, wanted):
            for extension in parts:
                passed_over.add(f"{key}.{extension}")
            continue
        try:
            image = choose_image(key, parts, wanted)
            if wanted.caption is None:
                labels = read_labels(file, key, parts, wanted) if wanted.label else [-1]
            else:
                labels = locate_captions(file, parts, wanted.caption, parts[image][0])
        except ValueError:
            if any(name == key for name, *_ in members):
                raise ValueError(
                    f"the files of {key} are not side by side: make the shard again, with --sort=name if by tar"
                ) from None
            raise
        if parts[image][1] > MAX_BYTES:
            raise ValueError(f"{key}.{image} has {parts[image][1] / 1e6:,.0f} MB, too many for an image: remove it")
        if wanted.image is None:
            for extension in list_images(parts)[1:]:
                passed_over.add(f"{key}.{extension}")
        yield key, *parts[image], labels


def name_members(file: BinaryIO, size: int, passed_over: PassedOver) -> Iterator[tuple[str, str, int, int]]:
    """Yield the name up to its first dot, the rest of it, offset and size of each file that may belong to a sample."""
    for name, offset, length in read_members(file, size):
        if match := MEMBER_NAME.fullmatch(name):
            yield match[1], match[2], offset, length
        else:
            passed_over.add(name)


def list_images(parts: Parts) -> list[str]:
    """Return the extensions of the images in a sample, those of one word first: ``png`` before ``mask.png``."""
    images = [extension for extension in parts if extension.rpartition(".")[2] in IMAGE_EXTENSIONS]
    return sorted(images, key=lambda extension: "." in extension)


def is_no_sample(file: BinaryIO, parts: Parts, wanted: Wanted) -> bool:
    """Return whether files of one name have neither an image nor a label, such as a README."""
    if wanted.caption is not None:
        return not list_images(parts)
    if list_images(parts) or any(extension.rpartition(".")[2] == wanted.label.lower() for extension in parts):
        return False
    if wanted.label == "cls" or "json" not in parts:
        return True
    fields = parse_json(read_part(file, parts["json"]))
    return not isinstance(fields, dict) or wanted.label not in fields


def choose_image(key: str, parts: Parts, wanted: Wanted) -> str:
    """Return the extension of a sample's image; raise ValueError if there is none, or if several may be meant."""
    images = list_images(parts)
    plain = [extension for extension in images if "." not in extension]
    if wanted.image is not None:
        if wanted.image.lower() in parts:
            return wanted.image.lower()
        raise ValueError(f"{key} has no {wanted.image}, which data.image names: it has {abbreviate([*parts])}")
    if len(plain) == 1:
        return plain[0]
    if plain:
        raise ValueError(f"{key} has several images: choose one of {abbreviate(plain)} by data.image={plain[0]}")
    label = wanted.label.lower()
    labels = [extension for extension in parts if extension.endswith(f".{label}")]
    if len(labels) > 1 and label not in parts:
        raise ValueError(
            f"a sample's name ends at its first dot, so that {key}.{labels[0]} and {key}.{labels[1]} are in one "
            "sample: replace the other dots in the names"
        )
    if images:
        names = f"data.image={images[0]}" + (f" data.label={labels[0]}" if labels else "")
        raise ValueError(
            f"{key} has no image of its own name: it has {abbreviate([*parts])}. Name what to read: {names}"
        )
    raise ValueError(
        f"{key} has no image: it has {abbreviate([*parts])}, but none of {', '.join(IMAGE_EXTENSIONS)}. Restore or "
        "remove that sample"
    )


def read_labels(file: BinaryIO, key: str, parts: Parts, wanted: Wanted) -> list[int]:
    """Return the labels of a sample: the number in its member, or a number or list in a field of its json."""
    label = wanted.label.lower()
    if label in parts and label != "json":
        content = read_part(file, parts[label])
        try:
            return check_labels(int(content), key)
        except ValueError:
            return check_labels(show_start(content), key)
    if label == "cls" or "json" not in parts:
        way_out = advise_label(file, parts)
        missing = label if label == "cls" else f"{label} and no json"
        raise ValueError(f"{key} has no label: it has {abbreviate([*parts])}, but no {missing}. {way_out}")
    fields = parse_json(read_part(file, parts["json"]))
    if not isinstance(fields, dict) or wanted.label not in fields:
        there = f"it has {abbreviate([*fields])}" if isinstance(fields, dict) else "it is not a json object"
        raise ValueError(
            f"{key}.json has no field {wanted.label!r}: {there}. Name the field of the labels: data.label="
        )
    return check_labels(fields[wanted.label], key)


def advise_label(file: BinaryIO, parts: Parts) -> str:
    """Return where else a sample has the number of its class, or that it has texts alone."""
    others = [extension for extension in parts if extension.rpartition(".")[2] not in IMAGE_EXTENSIONS]
    choices, texts = [], []
    for name in others:
        content = read_part(file, parts[name])
        fields = parse_json(content) if name == "json" else None
        values = [*fields.values()] if isinstance(fields, dict) else []
        if any(is_label(number) for value in values for number in as_list(value)):
            choices.append("data.label=FIELD, a field of its json")
        elif name != "json" and content.strip().isdigit():
            choices.append(f"data.label={name}")
        else:
            texts.append(f"{name} is {show_start(content)!r}")
    if choices:
        return f"Choose where its number is: {abbreviate(choices)}"
    if texts:
        return f"Its {texts[0]}, but a label must be an integer from 0: number the classes, in NAME.cls"
    return "Complete or remove that sample"


def as_list(value: object) -> list[object]:
    """Return a list as it is, and anything else as a list of it alone."""
    return value if isinstance(value, list) else [value]


def is_label(value: object) -> bool:
    """Return whether a value can be a label."""
    return type(value) is int and 0 <= value < 2**31


def check_labels(value: object, key: str) -> list[int]:
    """Return a label or a list of them as a list of distinct labels; raise ValueError if one cannot be a label."""
    values = [number for number in as_list(value) if isinstance(number, int) and is_label(number)]
    if len(values) > MAX_LABELS:
        raise ValueError(f"{key} has {len(values):,} labels, more than {MAX_LABELS:,}: choose another data.label=")
    if not values or len(values) < len(as_list(value)):
        raise ValueError(f"the label of {key} is {value!r:.60}, but must be an integer from 0: number the classes")
    return list(dict.fromkeys(values))
