"""Damaged files and folders are read rightly or refused in one sentence; ``scripts/fuzz.py`` tries hundreds."""

from helpers.damages import KINDS
from helpers.fuzz import send_problems
from helpers.processes import FORKS


def test_damaged_inputs_are_read_or_refused_in_one_sentence():
    reader, writer = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=send_problems, args=([(kind, seed) for kind in KINDS for seed in (4, 7)], writer))
    process.start()
    assert reader.recv() == []
    process.join()
