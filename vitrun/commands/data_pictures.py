"""Pictures of a page about a data set: images, and views of them as training and testing see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch

from vitrun import data, recipes
from vitrun.commands.report.thumbnails import SIDE, encode
from vitrun.config.resolve import DEFAULT_VIEW
from vitrun.data.loader import Pixels
from vitrun.data.survey import Survey, survey_split
from vitrun.data.transforms.resize import Regions
from vitrun.data.transforms.views import CenterCropView, image_sizes
from vitrun.engine.inputs import make_train_view
from vitrun.plots.page import Gallery, Note, Picture, Section
from vitrun.runtime.console import Screen

VIEWS = 5  # of each training image
LARGEST_RES = 224  # pixels of views whose size is not given
PNG_START = b"\x89PNG"


@dataclass(frozen=True)
class Surveyed:
    """Parts of a data set by name, and what a survey found in each."""

    source: recipes.Dataset
    parts: Mapping[str, data.Split]
    surveys: Mapping[str, Survey]
    res: int  # pixels of the views

    def describe_image(self, part: str, row: int) -> tuple[str, str]:
        """Return the classes and the captions of an image, and its key."""
        split = self.parts[part]
        labels = np.atleast_1d(split.labels[row])
        names = ", ".join(split.classes[label] for label in labels.tolist() if label >= 0)
        captions = split.read_captions(row) if split.read_captions is not None else ()
        return "; ".join(filter(None, (names, *captions))) or "no label", str(split.keys[row])


def survey_parts(recipe: recipes.ListData, parts: Mapping[str, data.Split], screen: Screen) -> Surveyed:
    """Look at the images of each part that has any; the one for training comes first."""
    fast = getattr(recipe.data, "jpeg", "") == "fast"
    names = sorted((name for name, split in parts.items() if len(split)), key=lambda name: name != "train")
    parts = {name: replace(parts[name], fast_jpeg=fast) for name in names}
    surveys = {}
    for name, split in parts.items():
        with screen.progress(f"looking at {name}", len(split), 0) as bar:
            surveys[name] = survey_split(split, partial(bar.update, note=""))
    sides = [np.minimum(survey.widths, survey.heights) for survey in surveys.values()]
    shorter = int(np.median(np.concatenate(sides))) if any(map(len, sides)) else LARGEST_RES
    return Surveyed(cast(recipes.Dataset, recipe.data), parts, surveys, recipe.res or min(LARGEST_RES, shorter))


def choose_rows(survey: Survey, number: int) -> np.ndarray:
    """Return up to ``number`` rows of readable images, evenly spread: data sets are sorted by class."""
    places = np.linspace(0, len(survey.rows) - 1, min(number, len(survey.rows))).round().astype(np.int64)
    return survey.rows[places]


def load_pixels(split: data.Split, rows: np.ndarray) -> list[torch.Tensor]:
    """Return the images at ``rows``, uint8 [3, h, w] each."""
    if split.pixels is not None:
        return [*split.pixels[torch.from_numpy(rows)]]
    return [torch.from_numpy(split.decode(row)) for row in rows.tolist()]


def show_training(recipe: recipes.ListData, surveyed: Surveyed) -> Section:
    """Return the section with training images, and views of each as training draws them."""
    section = Section("What training sees")
    if "train" not in surveyed.parts:
        return section
    split = surveyed.parts["train"]
    rows = choose_rows(surveyed.surveys["train"], recipe.show)
    pixels: Pixels = load_pixels(split, rows)
    view = make_train_view(surveyed.source, recipe.augment, recipes.View(**DEFAULT_VIEW), surveyed.res, seed=0)
    views = [view(pixels, epoch, rows) for epoch in range(VIEWS)] if len(rows) else []
    section.add(Note(describe_training(recipe, surveyed)))
    for place, row in enumerate(rows.tolist()):
        label, key = surveyed.describe_image("train", row)
        original = mark_boxes(pixels[place].numpy(), split, row, whole_region(pixels[place]))
        pictures = [make_picture(original, label, (label, key, format_size(pixels[place])))]
        for epoch, images in enumerate(views):
            region = view.regions(image_sizes(pixels[place : place + 1]), epoch, rows[place : place + 1])
            seen = mark_boxes(to_pixels(images[place]), split, row, region)
            pictures.append(make_picture(seen, f"{label}, view {epoch + 1}", (f"view {epoch + 1}",)))
        section.add(Gallery(pictures, SIDE))
    return section


def describe_training(recipe: recipes.ListData, surveyed: Surveyed) -> str:
    """Return what makes the views of training images."""
    source, augment = surveyed.source, recipe.augment
    parts = [f"data.crop={source.crop}"]
    if source.crop in ("inception", "random_resized"):
        parts.append(f"data.area=[{source.area[0]:g},{source.area[1]:g}]")
    parts.append(f"data.flip={str(source.flip).lower()}")
    if augment.layers:
        parts += [f"augment.{name}={getattr(augment, name)}" for name in ("randaugment", "layers", "magnitude")]
    if augment.erasing:
        parts.append(f"augment.erasing={augment.erasing:g}")
    mixes = [name for name, value in (("mixup", augment.mixup), ("CutMix", augment.cutmix)) if value]
    mixed = f" Images of a batch are mixed after that ({' or '.join(mixes)}), which is not shown." if mixes else ""
    return (
        f"Each image is followed by its views in the first {VIEWS} epochs at {surveyed.res} x {surveyed.res} pixels "
        f"with {', '.join(parts)} and seed=0.{mixed}"
    )


def show_testing(recipe: recipes.ListData, surveyed: Surveyed) -> Section:
    """Return the section with views of images of each part that is not for training."""
    section = Section("What testing sees")
    view = CenterCropView(surveyed.res, **DEFAULT_VIEW)
    for part in (part for part in surveyed.parts if part != "train"):
        split, rows = surveyed.parts[part], choose_rows(surveyed.surveys[part], recipe.show)
        pixels = load_pixels(split, rows)
        pictures = []
        for row, image, seen in zip(rows.tolist(), pixels, view(pixels) if pixels else ()):
            label, key = surveyed.describe_image(part, row)
            marked = mark_boxes(to_pixels(seen), split, row, view.regions(image_sizes([image])))
            pictures.append(make_picture(marked, label, (label, key, format_size(image))))
        section.add(
            Note(f"{part}: resized to {surveyed.res} x {surveyed.res} pixels, the default view of pretrain."),
            Gallery(pictures, SIDE),
        )
    return section


def whole_region(image: torch.Tensor) -> Regions:
    """Return the region of a view that is the image itself, [3, h, w]."""
    height, width = image.shape[1:]
    return Regions(np.array([[0, 0, height, width]]), np.array([[height, width, 0, 0]]), np.zeros(1, bool))


def mark_boxes(pixels: np.ndarray, split: data.Split, row: int, region: Regions) -> np.ndarray:
    """Return the pixels [3, h, w] of a view of an image with its boxes, in a colour for each class, if any."""
    if split.boxes is None:
        return pixels
    from vitrun.plots.boxes import DrawnBox, draw_boxes

    height, width = pixels.shape[1:]
    (boxes,) = split.boxes.see(np.array([row]), region, (height, width))
    corners = torch.cat([boxes.boxes[:, :2] - boxes.boxes[:, 2:] / 2, boxes.boxes[:, :2] + boxes.boxes[:, 2:] / 2], 1)
    places = (corners * torch.tensor([width, height] * 2)).tolist()
    drawn = [DrawnBox(place, "", label) for place, label in zip(places, boxes.labels.tolist())]
    return np.asarray(draw_boxes(pixels, drawn, SIDE, SIDE)).transpose(2, 0, 1)


def to_pixels(view: torch.Tensor) -> np.ndarray:
    """Return a view [3, R, R] in [-1, 1] as uint8 pixels."""
    return ((view + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def format_size(image: torch.Tensor) -> str:
    """Return ``640 x 480``: width by height."""
    return f"{image.shape[2]} x {image.shape[1]}"


def make_picture(pixels: np.ndarray, alt: str, caption: Sequence[str] = ()) -> Picture:
    """Return pixels [3, h, w] as a small picture."""
    content = encode(pixels)
    return Picture(content, alt, caption, kind="image/png" if content.startswith(PNG_START) else "image/jpeg")
