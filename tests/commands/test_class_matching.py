"""Classes of a model and of a test set are matched by name where both have names."""

import numpy as np
import pytest

from vitrun import data
from vitrun.commands.class_matching import can_match_names

FROM_0, FROM_1, ANIMALS = ("0", "1", "2"), ("1", "2", "3"), ("ant", "bee", "cow")


@pytest.mark.parametrize(
    "trained, here, named, by_name",
    [
        ((), ANIMALS, True, False),
        (ANIMALS, ANIMALS[:2], False, True),
        (ANIMALS, FROM_0, True, True),  # so that the folders 0, 1 and 2 are refused
        (ANIMALS, FROM_0, False, False),
        (FROM_1, FROM_0, True, True),
        (FROM_1, FROM_0, False, False),
        (FROM_0, FROM_1, True, True),
        (FROM_0, FROM_0[:2], False, True),
        (FROM_0, ANIMALS, True, False),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ANIMALS, True, False),
    ],
)
def test_numbers_are_names_only_where_the_source_has_names(trained, here, named, by_name):
    test = data.Split(["a"], np.zeros(1, np.int64), here, named=named)
    assert can_match_names(trained, test) == by_name


def test_classes_are_found_in_any_spelling_of_unicode_and_of_numbers():
    assert data.find_classes(("cafe\u0301", "dog"), ("dog", "caf\u00e9", "Dog")).tolist() == [1, 0, -1]
    assert data.find_classes(("1", "2", "10"), ("010", "02", "3")).tolist() == [2, 1, -1]
    assert data.find_classes(("1", "01"), ("01", "1", "001")).tolist() == [1, 0, -1]
