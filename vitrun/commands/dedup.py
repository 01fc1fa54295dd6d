"""``vitrun dedup``: find the test images that a training set holds too."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vitrun import data, recipes
from vitrun.data import near_duplicates
from vitrun.data.near_duplicates import Pairs
from vitrun.engine import weights
from vitrun.probes.feature_cache import FeatureExtractor, cached
from vitrun.runs.exclude import DUPLICATES_FILE, EXCLUDED_KEYS_FILE
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Dedup, run: Run) -> dict[str, Any]:
    """How many test images have duplicates by each detector; the pairs, and the keys of the training images in them.

    A mirrored copy counts as near where training mirrors images. The pairs are, of each image that has any, that with
    its nearest.
    """
    machine = Machine(recipe.device, recipe.precision)
    if recipe.init:
        weights.check_init(recipe.init, recipe.res)
    test = data.open_split(recipe.against, "test", run.screen, run.raise_if_interrupted)
    train = data.open_split(recipe.data, "train", run.screen, run.raise_if_interrupted)
    run.log(
        f"data: {len(test)} test images of {recipe.against.name}, {len(train)} training images of {recipe.data.name}"
    )
    run.update_about(
        train_data=train.fingerprint, test_data=test.fingerprint, test_identity=test.identity, source=train.location
    )
    loaded = weights.load_init(recipe.init, recipe.runs, 0, run.log, res=recipe.res) if recipe.init else None
    if run.dry:
        return {"test_images": len(test), "train_images": len(train)}
    tests, trains = hash_split(recipe.against, "test", test, run), hash_split(recipe.data, "train", train, run)
    found = {"exact": near_duplicates.match_exact(tests["exact"], trains["exact"])}
    for how in ("near", "mirrored") if recipe.data.flip else ("near",):
        mirrored = how == "mirrored"
        found[how] = near_duplicates.match_by_hash(
            tests["near"], trains["near"], recipe.distance, mirrored, machine.device
        )
    if loaded:
        both = ((recipe.against, "test", test), (recipe.data, "train", train))
        extractor = FeatureExtractor(recipe, run, machine, loaded)
        vectors = [near_duplicates.normalize_features(extractor.extract(*one)[0]) for one in both]
        found["features"] = near_duplicates.match_by_cosine(
            *vectors, near_duplicates.normalize_features, recipe.similarity, machine.device
        )
    run.write_file(DUPLICATES_FILE, lambda path: write_pairs(path, found, test, train))
    excluded = sorted({row for pairs in found.values() for row in pairs.trains.tolist()})
    run.write_file(EXCLUDED_KEYS_FILE, lambda path: write_keys(path, [train.keys[row] for row in excluded]))
    return {
        **{how: count_test_images(found, how) for how in ("exact", "near", "features") if how in found},
        "duplicates": count_test_images(found, *found),
        "test_images": len(test),
        "excluded": len(excluded),
        "train_images": len(train),
    }


def hash_split(source: recipes.Data, part: str, split: data.Split, run: Run) -> dict[str, Tensor]:
    """The hashes of a split, kept in a file, so that a training set is read once for all test sets."""

    def compute() -> dict[str, Tensor]:
        with run.screen.progress(f"hashes of {source.name} {part}", len(split), 0) as bar:
            return near_duplicates.hash_images(
                split, run.progress_callback(bar), lambda mistake: run.warn(f"compared by its bytes alone: {mistake}")
            )

    return cached(
        "hashes", (repr(source), part, split.fingerprint, near_duplicates.HASH_BITS), compute, len(split), run
    )


def count_test_images(found: dict[str, Pairs], *hows: str) -> int:
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
