"""The images that a verb works on: opened, said aloud, and recorded in its run."""

from vitrun import data, recipe
from vitrun.run import Run

CALLED = {"train": "training", "test": "test"}


def open_parts(source: recipe.Data, parts: tuple[str, ...], run: Run, skip_bad: bool = False) -> list[data.Split]:
    """The ``parts`` of a data set, without images that cannot be read where ``skip_bad``.

    A Mistake (exit 3) where the data changed since the run began.
    """
    splits = [data.open_split(source, part, run.screen, run.tick) for part in parts]
    if skip_bad:
        splits = [data.readable(split, run.warn) for split in splits]
    sizes = " and ".join(f"{len(split)} {CALLED[part]}" for part, split in zip(parts, splits))
    run.say(f"data: {source.name}, {sizes} images, {len(splits[0].classes)} classes")
    places = [place for place in dict.fromkeys(split.where for split in splits) if place]
    for place in places:
        run.say(f"from {place}")
    fingerprints = {f"{part}_data": split.fingerprint for part, split in zip(parts, splits)}
    run.about(**fingerprints, source="; ".join(places))
    return splits
