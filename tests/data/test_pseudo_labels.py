"""Unlabelled images join the labelled ones of a step, whatever the number of ranks."""

import numpy as np
import torch

from vitrun.data import MappedRows, PseudoLabels, Split, join_batches, train_batches
from vitrun.data.transforms.views import CropView
from vitrun.runtime import distributed

VIEW = CropView(16, "pad", (0.5, 1.0), True, 3)


def make_split(number: int, seed: int) -> Split:
    pixels = np.random.default_rng(seed).integers(0, 255, (number, 3, 16, 16), dtype=np.uint8)
    return Split([str(n) for n in range(number)], np.arange(number) % 3, ("a", "b", "c"), torch.from_numpy(pixels))


def make_batches(steps: range):
    """Yield steps of 4 labelled images, and 8 unlabelled ones of 7, of which one is there twice."""
    labelled, unlabelled = make_split(10, 0), make_split(9, 1)
    classes = [np.arange(18, dtype=np.int16).reshape(9, 2) % 3, np.zeros((0, 2), np.int16)]
    shares = np.full((9, 2), 0.5, np.float16)
    rows = np.array([0, 1, 2, 2, 5, 6, 8])
    pseudo = PseudoLabels(unlabelled, rows, MappedRows(classes), MappedRows([shares]), np.array([2, 0, 1]))
    return join_batches(train_batches(labelled, VIEW, 4, 3, steps), pseudo.make_batches(VIEW, 8, 3, steps), 10)


def describe(batches) -> list[tuple]:
    """Return index, label, targets and pixels of each image, in the order of the indices."""
    columns = [
        zip(b.indices.tolist(), b.labels.tolist(), *(t.tolist() for t in b.targets), b.images.sum((1, 2, 3)).tolist())
        for b in batches
    ]
    return sorted(row for batch in columns for row in batch)


def test_the_ranks_share_the_images_of_a_step_and_any_step_is_the_same_after_a_restart(monkeypatch):
    whole = list(make_batches(range(5)))
    assert all((batch.targets[1].sum(1) == 0).tolist() == [True] * 4 + [False] * 8 for batch in whole)
    assert {*np.concatenate([batch.indices for batch in whole]).tolist()} >= {10, 11, 12, 15, 16, 18}
    assert describe(make_batches(range(3, 5))) == describe(whole[3:])
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    ranks = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        ranks += list(make_batches(range(5)))
    assert describe(ranks) == describe(whole)


def test_the_classes_of_the_teacher_are_those_of_the_labels_by_their_names():
    for batch in make_batches(range(2)):
        rows = batch.indices[4:] - 10
        assert batch.targets[0][4:].tolist() == np.array([2, 0, 1])[(2 * rows[:, None] + [0, 1]) % 3].tolist()
        assert batch.list_names()[4:] == [str(row) for row in rows]


def test_rows_of_several_files_are_those_of_one():
    whole = np.arange(20).reshape(10, 2)
    rows = MappedRows([whole[:3], whole[3:4], whole[4:]])
    assert len(rows) == 10 and np.array_equal(rows.column(1), whole[:, 1])
    assert np.array_equal(rows[np.array([9, 0, 3, 3, 2])], whole[[9, 0, 3, 3, 2]])
