"""``vitrun dedup``: find the test images that are in a training set too."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vitrun import data, recipes
from vitrun.data import near_duplicates
from vitrun.data.near_duplicates import Pairs
from vitrun.engine import weights
from vitrun.models import LoadedModel
from vitrun.probes.feature_cache import FeatureExtractor, cached, identify_images
from vitrun.runs.exclude import DUPLICATES_FILE, EXCLUDED_KEYS_FILE
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Dedup, run: Run) -> dict[str, Any]:
    """Return how many test images have duplicates by each detector; write the pairs and the keys of training images.

    Each image that has duplicates is paired with its nearest one. A mirrored copy counts as near if training mirrors
    images.
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
    loaded = weights.load_body_for_run(recipe, run) if recipe.init else None
    if run.dry:
        return {"test_images": len(test), "train_images": len(train)}
    pairs = find_pairs(recipe, run, machine, loaded, test, train)
    run.write_file(DUPLICATES_FILE, lambda path: write_pairs(path, pairs, test, train))
    excluded = sorted({row for some in pairs.values() for row in some.trains.tolist()})
    run.write_file(EXCLUDED_KEYS_FILE, lambda path: write_keys(path, [train.keys[row] for row in excluded]))
    return {
        **{name: count_test_images(pairs, name) for name in ("exact", "near", "features") if name in pairs},
        "duplicates": count_test_images(pairs, *pairs),
        "test_images": len(test),
        "excluded": len(excluded),
        "train_images": len(train),
    }


def find_pairs(
    recipe: recipes.Dedup, run: Run, machine: Machine, loaded: LoadedModel | None, test: data.Split, train: data.Split
) -> dict[str, Pairs]:
    """Return the pairs that each detector finds; ``features`` is one of them if there is a ``loaded`` model."""
    tests, trains = hash_split(recipe.against, "test", test, run), hash_split(recipe.data, "train", train, run)
    near, distance = (tests["near"], trains["near"]), recipe.distance
    pairs = {
        "exact": near_duplicates.match_exact(tests["exact"], trains["exact"]),
        "near": near_duplicates.match_by_hash(*near, distance, False, machine.device),
    }
    if recipe.data.flip:
        pairs["mirrored"] = near_duplicates.match_by_hash(*near, distance, True, machine.device)
    if loaded:
        splits = ((recipe.against, "test", test), (recipe.data, "train", train))
        extractor = FeatureExtractor(recipe, run, machine, loaded)
        tests_x, trains_x = (near_duplicates.normalize_features(extractor.extract(*split)) for split in splits)
        pairs["features"] = near_duplicates.match_by_cosine(
            tests_x, trains_x, near_duplicates.normalize_features, recipe.similarity, machine.device
        )
    return pairs


def hash_split(source: recipes.Data, part: str, split: data.Split, run: Run) -> dict[str, Tensor]:
    """Return the hashes of a split, cached in a file, so that a training set is read once for all test sets."""

    def compute() -> dict[str, Tensor]:
        with run.screen.progress(f"hashes of {source.name} {part}", len(split), 0) as bar:
            return near_duplicates.hash_images(
                split, run.progress_callback(bar), lambda error: run.warn(f"compared by its bytes alone: {error}")
            )

    return cached(
        "hashes",
        (*identify_images(source), part, split.fingerprint, near_duplicates.HASH_BITS),
        compute,
        len(split),
        run,
    )


def count_test_images(pairs: dict[str, Pairs], *detectors: str) -> int:
    """Return the number of test images that any of these detectors found; ``near`` includes mirrored ones."""
    detectors = (*detectors, "mirrored") if "near" in detectors else detectors
    return len(np.unique(np.concatenate([some.tests for detector, some in pairs.items() if detector in detectors])))


def write_pairs(path: Path, pairs: dict[str, Pairs], test: data.Split, train: data.Split) -> None:
    """Write a Parquet table with a row per pair: both keys, the detector, and the distance in bits or 1 - cosine."""
    import pyarrow
    import pyarrow.parquet

    columns = {
        "test": [test.keys[row] for some in pairs.values() for row in some.tests.tolist()],
        "train": [train.keys[row] for some in pairs.values() for row in some.trains.tolist()],
        "how": [detector for detector, some in pairs.items() for _ in some.tests],
        "distance": np.concatenate([some.distances for some in pairs.values()]),
    }
    kinds = (pyarrow.string(), pyarrow.string(), pyarrow.string(), pyarrow.float64())
    with path.open("wb") as file:  # pyarrow takes a path with a colon for an address
        pyarrow.parquet.write_table(pyarrow.table(columns, pyarrow.schema(zip(columns, kinds))), file)


def write_keys(path: Path, keys: list[str]) -> None:
    """Write one key per line."""
    path.write_text("".join(f"{key}\n" for key in keys), encoding="utf-8", errors="surrogateescape")
