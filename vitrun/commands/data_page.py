"""Page about a data set: what training and testing see of it, and what is in it."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

import vitrun
from vitrun import data, recipes
from vitrun.commands.data_pictures import Surveyed, load_pixels, make_picture, show_testing, show_training
from vitrun.commands.report.thumbnails import SIDE
from vitrun.data.survey import Member, find_copies
from vitrun.plots.dataset import draw_class_counts, draw_sizes
from vitrun.plots.page import Block, Column, Details, Facts, Gallery, Note, Page, Row, Section, Table, chart_figure

MOST_CLASSES = 1000  # rows of the table of classes
MOST_GROUPS = 12  # of equal images that are shown
MOST_COPIES = 6  # of such a group
MOST_UNREADABLE = 1000  # rows of the table of unreadable images


def make_page(recipe: recipes.ListData, surveyed: Surveyed) -> Page:
    """Return the page."""
    sizes = " and ".join(f"{len(split):,} {part}" for part, split in surveyed.parts.items()) or "no"
    path = getattr(surveyed.source, "path", None)
    page = Page(
        f"Data: {surveyed.source.name}" + (f" in {path}" if path else ""),
        [f"{sizes} images.", *describe_samples(surveyed)],
        footer=f"Made by vitrun {vitrun.__version__} on {time.strftime('%Y-%m-%d %H:%M %Z')}.",
    )
    page.sections += [
        Section("Parts", [list_parts(surveyed), *describe_places(surveyed)]),
        show_training(recipe, surveyed),
        show_testing(recipe, surveyed),
        count_classes(surveyed),
        list_sizes(surveyed),
        list_copies(surveyed),
        list_unreadable(surveyed),
    ]
    return page


def describe_samples(surveyed: Surveyed) -> Iterator[str]:
    """Yield a sentence if not all images were decoded."""
    partly = [
        f"{survey.looked_at:,} of {len(surveyed.parts[part]):,} {part} images"
        for part, survey in surveyed.surveys.items()
        if survey.looked_at < len(surveyed.parts[part])
    ]
    if partly:
        yield (
            f"Sizes, duplicates and unreadable images are those of {' and '.join(partly)}, drawn at random: "
            "as many as there was time for. Among all images are more duplicates than a sample shows."
        )


def list_parts(surveyed: Surveyed) -> Table:
    """Return the table of parts."""
    columns = [
        Column("part"),
        Column("images", numeric=True),
        Column("decoded", numeric=True, about="images that this page looked into"),
        Column("unreadable", numeric=True),
        Column("classes", numeric=True),
        Column("fingerprint"),
    ]
    rows = []
    for part, split in surveyed.parts.items():
        survey = surveyed.surveys[part]
        numbers = [len(split), survey.looked_at, len(survey.unreadable), len(split.classes)]
        rows.append(Row([part, *(f"{number:,}" for number in numbers), split.fingerprint]))
    return Table(columns, rows, "Parts of the data set")


def describe_places(surveyed: Surveyed) -> Iterator[Note]:
    """Yield where the images come from, and how they were read."""
    splits = surveyed.parts.values()
    for location in dict.fromkeys(split.location for split in splits if split.location):
        yield Note(f"From {location}")
    for note in dict.fromkeys(note for split in splits for note in split.notes):
        yield Note(note)


def count_classes(surveyed: Surveyed) -> Section:
    """Return the section with the images of each class in each part."""
    section = Section("Classes")
    names = list(dict.fromkeys(name for split in surveyed.parts.values() for name in split.classes))
    counts = {part: count_labels(split, names) for part, split in surveyed.parts.items() if split.labels.max() >= 0}
    if not counts or not names:
        return section.add(Note("No image has a label."))
    facts = {}
    for part, numbers in counts.items():
        filled = numbers[numbers > 0]
        facts[part] = f"{len(filled):,} of {len(names):,} classes, {describe_range(filled)} images each"
    section.add(Facts(facts), chart_figure(draw_class_counts(counts, names)))
    order = np.argsort(-next(iter(counts.values())), kind="stable")[:MOST_CLASSES].tolist()
    rows = [Row([names[row], *(f"{int(numbers[row]):,}" for numbers in counts.values())]) for row in order]
    columns = [Column("class"), *(Column(part, "images", numeric=True) for part in counts)]
    table = Table(columns, rows, "Images of each class")
    section.add(table if len(rows) <= 12 else Details(f"Table of {len(rows):,} classes", [table]))
    if len(names) > len(rows):
        section.add(Note(f"The table has the {len(rows):,} largest of {len(names):,} classes."))
    return section


def describe_range(numbers: np.ndarray) -> str:
    """Return ``30``, or ``1 to 30`` if the numbers differ."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def count_labels(split: data.Split, names: Sequence[str]) -> np.ndarray:
    """Return the images of each class of ``names`` [C]; one with several labels counts for each of them."""
    positions = {name: position for position, name in enumerate(names)}
    counts = np.bincount(split.labels[split.labels >= 0].ravel(), minlength=len(split.classes))
    result = np.zeros(len(names), np.int64)
    np.add.at(result, [positions[name] for name in split.classes], counts)  # a name may stand for several classes
    return result


def list_sizes(surveyed: Surveyed) -> Section:
    """Return the section with widths, heights and sizes of files."""
    section = Section("Sizes of images")
    sized = {part: survey for part, survey in surveyed.surveys.items() if len(survey.rows)}
    for part, survey in sized.items():
        areas = survey.widths * survey.heights
        ends = {"smallest": areas.argmin(), "median": np.argsort(areas)[len(areas) // 2], "largest": areas.argmax()}
        facts = {f"{part}: {name}": name_size(surveyed, part, int(at)) for name, at in ends.items()}
        if len(set(zip(survey.widths.tolist(), survey.heights.tolist()))) == 1:
            facts = {f"{part}: all": f"{survey.widths[0]} x {survey.heights[0]} px"}
        sizes = survey.file_sizes[survey.file_sizes > 0]
        if len(sizes):
            low, middle, high = (format_bytes(size) for size in np.quantile(sizes, [0, 0.5, 1]))
            facts[f"{part}: encoded"] = f"{low} to {high}, median {middle}; {format_bytes(sizes.sum())} in all"
        section.add(Facts(facts))
    pairs = {part: (survey.widths, survey.heights) for part, survey in sized.items()}
    if len({size for widths, heights in pairs.values() for size in zip(widths.tolist(), heights.tolist())}) > 1:
        section.add(chart_figure(draw_sizes(pairs)))
    return section


def name_size(surveyed: Surveyed, part: str, at: int) -> str:
    """Return the size of the image at a place of a survey, and its key."""
    survey = surveyed.surveys[part]
    key = surveyed.parts[part].keys[int(survey.rows[at])]
    return f"{survey.widths[at]} x {survey.heights[at]} px ({key})"


def format_bytes(size: float) -> str:
    """Return ``812 B``, ``9.3 kB`` or ``1.2 GB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"


def list_copies(surveyed: Surveyed) -> Section:
    """Return the section with images whose pixels are equal, within and between parts."""
    section = Section("Duplicates")
    groups = find_copies(surveyed.surveys)
    facts: dict[str, object] = {}
    for part in surveyed.parts:
        facts[f"{part}: copies of another {part} image"] = sum(
            max(0, Counter(name for name, _ in group)[part] - 1) for group in groups
        )
    for part in (part for part in surveyed.parts if part != "train" and "train" in surveyed.parts):
        facts[f"{part} images that are training images too"] = sum(
            Counter(name for name, _ in group)[part] for group in groups if any(name == "train" for name, _ in group)
        )
    differing = [group for group in groups if len({surveyed.describe_image(*one)[0] for one in group}) > 1]
    facts["groups of equal images"] = len(groups)
    facts["of these with different labels"] = len(differing)
    section.add(Facts({name: f"{number:,}" for name, number in facts.items()}))
    section.add(Note("Images are equal if all their pixels are. vitrun dedup finds those that are nearly equal."))
    shown = sort_groups(groups, differing)[:MOST_GROUPS]
    section.add(*(show_group(surveyed, group) for group in shown))
    if len(groups) > len(shown):
        section.add(Note(f"Shown are {len(shown)} of {len(groups):,} groups: different labels or parts first."))
    return section


def sort_groups(groups: Sequence[list[Member]], differing: Sequence[list[Member]]) -> list[list[Member]]:
    """Return groups with different labels first, then those across parts, then the largest."""
    first = {id(group) for group in differing}
    return sorted(groups, key=lambda group: (id(group) not in first, len({part for part, _ in group}) == 1))


def show_group(surveyed: Surveyed, group: Sequence[Member]) -> Gallery:
    """Return pictures of equal images."""
    pictures = []
    for number, (part, row) in enumerate(group[:MOST_COPIES]):
        label, key = surveyed.describe_image(part, row)
        more = f"and {len(group) - MOST_COPIES:,} more" if number == MOST_COPIES - 1 < len(group) - 1 else ""
        (pixels,) = load_pixels(surveyed.parts[part], np.array([row]))
        pictures.append(make_picture(pixels.numpy(), label, [*filter(None, (label, f"{part}: {key}", more))]))
    return Gallery(pictures, SIDE)


def list_unreadable(surveyed: Surveyed) -> Section:
    """Return the section with all images that cannot be read, and why."""
    section = Section("Unreadable images")
    unreadable = [(part, why) for part, survey in surveyed.surveys.items() for why in survey.unreadable.values()]
    looked_at = sum(survey.looked_at for survey in surveyed.surveys.values())
    if not unreadable:
        return section.add(Note(f"None of the {looked_at:,} images that were decoded."))
    rows = [Row([part, why]) for part, why in unreadable[:MOST_UNREADABLE]]
    blocks: list[Block] = [
        Table([Column("part"), Column("what is wrong")], rows, f"{len(unreadable):,} unreadable images")
    ]
    if len(unreadable) > len(rows):
        blocks.append(Note(f"The table has {len(rows):,} of them."))
    return section.add(*blocks)
