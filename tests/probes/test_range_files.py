"""Which images have no file yet."""

from pathlib import Path

import pytest

from vitrun.probes.range_files import Range, find_gaps, list_uncovered


@pytest.mark.parametrize(
    ("ranges", "gaps"),
    [
        ([], [(0, 10)]),
        ([(0, 4), (4, 10)], []),
        ([(6, 8), (2, 4)], [(0, 2), (4, 6), (8, 10)]),
        ([(0, 7), (2, 4), (5, 9)], [(9, 10)]),  # of two processes at once
    ],
)
def test_an_image_is_in_one_file_or_in_a_gap(ranges, gaps):
    files = [Range(first, end, Path()) for first, end in ranges]
    assert list(find_gaps(files, 10)) == gaps
    covered = [image for first, part in list_uncovered(files) for image in range(first, part.end)]
    missing = [image for first, end in gaps for image in range(first, end)]
    assert sorted(covered + missing) == list(range(10))
