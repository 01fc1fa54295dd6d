"""Labels of any number for each image."""

from vitrun.data.labels import padded


def test_lists_of_any_length_fill_one_array():
    assert padded([[], [3], [1, 2]]).tolist() == [[-1, -1], [3, -1], [1, 2]] and padded([[]]).shape == (1, 1)
