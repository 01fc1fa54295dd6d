"""``vitrun dedup``: find the test images that a training set holds too."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vitrun import data, recipes
from vitrun.data import near_duplicates
from vitrun.data.near_duplicates import Pairs
from vitrun.engine import weights
from vitrun.engine.feature_cache import embed, kept
from vitrun.errors import Mistake, about
from vitrun.runs.exclude import KEYS, TABLE
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine


def main(recipe: recipes.Dedup, run: Run) -> dict[str, Any]:
    """How many test images have duplicates by each detector; the pairs, and the keys of the training images in them.

    A mirrored copy counts as near where training mirrors images. The pairs are, of each image that has any, that with
    its nearest.
    """
    machine = Machine(recipe.device, recipe.precision)
    if recipe.init:
        weights.check(recipe.init, recipe.res)
    test, train = open_against(recipe, run), data.open_split(recipe.data, "train", run.screen, run.tick)
    run.say(
        f"data: {len(test)} test images of {recipe.against.name}, {len(train)} training images of {recipe.data.name}"
    )
    run.about(train_data=train.fingerprint, test_data=test.fingerprint, test_identity=test.identity, source=train.where)
    loaded = weights.load(recipe.init, recipe.runs, 0, run.say, res=recipe.res) if recipe.init else None
    if run.dry:
        return {"test_images": len(test), "train_images": len(train)}
    tests, trains = codes(recipe.against, "test", test, run), codes(recipe.data, "train", train, run)
    found = {"exact": near_duplicates.same(tests["exact"], trains["exact"])}
    for how in ("near", "mirrored") if recipe.data.flip else ("near",):
        mirrored = how == "mirrored"
        found[how] = near_duplicates.hashed(tests["near"], trains["near"], recipe.distance, mirrored, machine.device)
    if loaded:
        both = ((recipe.against, "test", test), (recipe.data, "train", train))
        vectors = [near_duplicates.unit(embed(recipe, run, machine, loaded, *one)[0]) for one in both]
        found["features"] = near_duplicates.alike(*vectors, near_duplicates.unit, recipe.similarity, machine.device)
    run.write(TABLE, lambda path: write_pairs(path, found, test, train))
    excluded = sorted({row for pairs in found.values() for row in pairs.trains.tolist()})
    run.write(KEYS, lambda path: write_keys(path, [train.keys[row] for row in excluded]))
    return {
        **{how: count(found, how) for how in ("exact", "near", "features") if how in found},
        "duplicates": count(found, *found),
        "test_images": len(test),
        "excluded": len(excluded),
        "train_images": len(train),
    }


def open_against(recipe: recipes.Dedup, run: Run) -> data.Split:
    """The test images; what is wrong with them is said of the options of ``against``."""
    try:
        return data.open_split(recipe.against, "test", run.screen, run.tick)
    except Mistake as mistake:
        if recipe.against == recipe.data:
            raise
        raise Mistake(about("against", str(mistake)), mistake.status) from None


def codes(source: recipes.Data, part: str, split: data.Split, run: Run) -> dict[str, Tensor]:
    """The hashes of a split, kept in a file, so that a training set is read once for all test sets."""

    def compute() -> dict[str, Tensor]:
        with run.screen.progress(f"hashes of {source.name} {part}", len(split), 0) as bar:
            return near_duplicates.codes(
                split, run.counter(bar), lambda mistake: run.warn(f"compared by its bytes alone: {mistake}")
            )

    return kept("hashes", (repr(source), part, split.fingerprint, near_duplicates.BITS), compute, len(split), run)


def count(found: dict[str, Pairs], *hows: str) -> int:
    """The test images that some detectors found; mirrored ones are near."""
    hows = (*hows, "mirrored") if "near" in hows else hows
    return len(np.unique(np.concatenate([pairs.tests for how, pairs in found.items() if how in hows])))


def write_pairs(path: Path, found: dict[str, Pairs], test: data.Split, train: data.Split) -> None:
    """A Parquet table, a row a pair: the keys of both images, how it was found, and the bits or 1 - cosine between."""
    import pyarrow
    import pyarrow.parquet

    columns = {
        "test": [test.keys[place] for pairs in found.values() for place in pairs.tests.tolist()],
        "train": [train.keys[row] for pairs in found.values() for row in pairs.trains.tolist()],
        "how": [how for how, pairs in found.items() for _ in pairs.tests],
        "distance": np.concatenate([pairs.distances for pairs in found.values()]),
    }
    kinds = (pyarrow.string(), pyarrow.string(), pyarrow.string(), pyarrow.float64())
    pyarrow.parquet.write_table(pyarrow.table(columns, pyarrow.schema(zip(columns, kinds))), path)


def write_keys(path: Path, keys: list[str]) -> None:
    """A key a line."""
    path.write_text("".join(f"{key}\n" for key in keys), encoding="utf-8", errors="surrogateescape")
