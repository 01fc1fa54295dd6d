"""Unlabelled images of a training run: opened, and compared with those that it trains or tests on with labels."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vitrun import data, recipes
from vitrun.data.sampler import rank_range
from vitrun.data.sources.messages import typed_option
from vitrun.engine.inputs import TrainingImages, check_same_on_ranks
from vitrun.errors import ExitCode, UserError
from vitrun.probes.feature_cache import identify_images
from vitrun.probes.range_files import RangeFiles
from vitrun.runs.run import Run
from vitrun.runtime import distributed

WHAT = "image hashes"  # the folder beside the runs, and what the log calls them


def open_unlabelled(source: recipes.Data, run: Run) -> data.Split:
    """Return the images that a teacher labels; log them, and record them in ``about.json``.

    A dry run gets the published size for what it would have to download.
    """
    split = data.make_placeholder_split(source, "train") if run.dry else None
    if split is None:
        with distributed.rank_zero_first():
            split = data.open_unlabelled(source, run.screen, run.raise_if_interrupted)
    run.log(f"unlabelled: {source.name}, {len(split):,} images, whose labels are not read")
    for line in (*([f"from {split.location}"] if split.location else []), *split.notes):
        run.log(line)
    check_same_on_ranks(source, split.fingerprint)
    run.update_about(unlabelled_data=split.fingerprint)
    return split


def find_left_out(recipe: recipes.Training, hashes: data.MappedRows, images: TrainingImages, run: Run) -> np.ndarray:
    """Return which unlabelled images [N], by their ``hashes`` [N, 2], to leave out; log how many.

    An image is left out if the run trains, tests or evaluates on one with the same file or the same pixels, wherever it
    lies. Raise UserError if no image is left.
    """
    labelled = {"labelled": images.train, "test": images.test}
    if images.held_out is not None and images.held_out is not images.test and recipe.eval.every is not None:
        labelled["held-out"] = images.held_out
    left_out = np.zeros(len(hashes), bool)
    counts = []
    for name, split in labelled.items():
        known = load_hashes(recipe.data, name, split, run)
        same = np.concatenate([data.find_known(part, known) for part in hashes.parts])
        counts += [f"{same.sum():,} {name}"] * bool(same.any())
        left_out |= same
    if counts:
        run.log(f"left out: {' and '.join(counts)} images that are among the unlabelled ones")
    if left_out.all():
        assert recipe.unlabelled is not None
        option, value = typed_option(recipe.unlabelled)
        why = f"all its {len(hashes):,} images are images of {recipe.data.name}, {' and '.join(counts)}: give others."
        raise UserError(why, ExitCode.DATA, option, value)
    return left_out


def load_hashes(source: recipes.Data, name: str, split: data.Split, run: Run) -> np.ndarray:
    """Return the hashes of a split's images, [N, 2]; those of images that are not in memory are stored in files."""
    if split.pixels is not None:
        return data.hash_images(split)

    def compute(rows: np.ndarray, tick: Callable[[int], None]) -> dict[str, Tensor]:
        first, end = rank_range(len(rows), distributed.rank(), distributed.world_size())
        (hashes,) = distributed.all_gather_arrays([data.hash_images(split.select(rows[first:end]), tick)])
        return {"hashes": torch.from_numpy(hashes)}

    key = (name, split.fingerprint, *identify_images(source))
    return np.concatenate(RangeFiles(run, key, WHAT).load(len(split), compute)["hashes"].parts)
