"""Images with any number of labels."""

from vitrun.data.labels import pad_labels


def test_lists_of_any_length_are_padded_to_one_array():
    assert pad_labels([[], [3], [1, 2]]).tolist() == [[-1, -1], [3, -1], [1, 2]] and pad_labels([[]]).shape == (1, 1)
