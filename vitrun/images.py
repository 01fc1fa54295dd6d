"""The images that a verb works on: opened, said aloud, and recorded in its run."""

from collections.abc import Callable, Sequence

from vitrun import data, exclude, ranks, recipe
from vitrun.mistakes import Exit, Mistake
from vitrun.run import Run

CALLED = {"train": "training", "test": "test"}


def open_parts(
    source: recipe.Data,
    parts: Sequence[str],
    run: Run,
    skip_bad: bool = False,
    excluded: Sequence[str] = (),
    open_split: Callable[..., data.Split] = data.open_split,
) -> list[data.Split]:
    """The ``parts`` of a data set, where ``skip_bad`` without images that cannot be read, the first less ``excluded``.

    A Mistake (exit 3) where the data changed since the run began. A rehearsal has the sizes of what it would download.
    """
    if run.dry and not excluded and (known := [published(source, part) for part in parts]) and all(known):
        splits = known
    else:
        with ranks.first():
            splits = [open_split(source, part, run.screen, run.tick) for part in parts]
    if skip_bad and not run.dry:
        splits = [data.readable(split, run.warn) for split in splits]
    if excluded:
        whole, splits[0] = splits[0], splits[0].without(exclude.keys(excluded, run.recipe.runs, splits[0].fingerprint))
        left = len(whole) - len(splits[0])
        run.say(f"left out: {left:,} of {len(whole):,} {CALLED[parts[0]]} images, by {', '.join(excluded)}")
    sizes = " and ".join(f"{len(split)} {CALLED[part]}" for part, split in zip(parts, splits))
    run.say(f"data: {source.name}, {sizes} images, {len(splits[0].classes)} classes")
    places = [place for place in dict.fromkeys(split.where for split in splits) if place]
    for place in places:
        run.say(f"from {place}")
    fingerprints = {f"{part}_data": split.fingerprint for part, split in zip(parts, splits)}
    if any(others != fingerprints for others in ranks.each(fingerprints)):
        raise Mistake(f"data={source.name}: not all ranks see the same images. Give them all the same.", Exit.DATA)
    run.about(**fingerprints, source="; ".join(places))
    return splits


def published(source: recipe.Data, part: str) -> data.Split | None:
    """A part as it is published, where opening it would be a download or the index of many shards; else None."""
    return data.as_published(source, part) if isinstance(source, recipe.Files | recipe.Shards) else None
