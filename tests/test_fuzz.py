"""Damaged files and overrides are read rightly or refused in one sentence; ``scripts/fuzz.py`` tries hundreds."""

from helpers.fuzz import KINDS, send_problems
from helpers.processes import FORKS

SEEDS = {"overrides": range(4), "rows": range(4), "manifests": [4], "recipes": [4], "results": [4]}


def test_damaged_inputs_are_read_or_refused_in_one_sentence():
    cases = [(kind, seed) for kind in KINDS for seed in SEEDS.get(kind, (4, 7))]
    reader, writer = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=send_problems, args=(cases, writer))
    process.start()
    assert reader.recv() == []
    process.join()
