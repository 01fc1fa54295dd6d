"""Other test sets of ImageNet: ReaL labels are matched by the number in the name, and subsets by class."""

import json

import numpy as np
import pytest

from helpers.imagenet import (
    LABELS,
    NUMBERS,
    REAL_LABELS,
    SYNSETS,
    open_data_row,
    valid_labels_by_file,
    validation_file_name,
    write_validation_set,
)
from helpers.images import write_class_folders
from vitrun.data.sources import imagenet
from vitrun.errors import ExitCode, UserError


def test_the_lists_of_imagenet_classes_equal_the_published_ones():
    empty = sum(not labels for labels in REAL_LABELS)
    assert (len(REAL_LABELS), empty, max(map(len, REAL_LABELS))) == (50_000, 3163, 9)
    assert REAL_LABELS[:4] == [[], [970, 795], [230, 231], [809]]
    assert len(SYNSETS) == 1000 and SYNSETS[0] == "n01440764" and list(SYNSETS) == sorted(SYNSETS)
    a, r = imagenet.read_subset_labels("imagenet_a"), imagenet.read_subset_labels("imagenet_r")
    assert len(a) == len(r) == 200 and len({*a} & {*r}) == 86 and (np.diff(a) > 0).all() and (np.diff(r) > 0).all()


def test_real_labels_are_matched_by_the_number_in_the_file_name(tmp_path):
    order = np.random.default_rng(0).permutation(len(NUMBERS))
    shuffled = write_validation_set(
        tmp_path / "s", [validation_file_name(NUMBERS[i]) for i in order], [LABELS[i] for i in order]
    )
    straight = write_validation_set(tmp_path / "t", [validation_file_name(number) for number in NUMBERS], LABELS)
    expected = {validation_file_name(number).split("/")[-1]: set(REAL_LABELS[number - 1]) for number in NUMBERS}
    assert valid_labels_by_file(open_data_row("imagenet_real", shuffled, test_images=None)) == expected
    assert valid_labels_by_file(open_data_row("imagenet_real", straight, test_images=None)) == expected


def test_real_labels_are_matched_when_the_file_name_includes_a_synset(tmp_path):
    names = [f"ILSVRC2012_val_{n:08d}_{SYNSETS[label]}.JPEG" for n, label in zip(NUMBERS, LABELS)]
    split = open_data_row("imagenet_real", write_validation_set(tmp_path / "c", names, LABELS), test_images=None)
    assert list(valid_labels_by_file(split).values()) == [set(REAL_LABELS[number - 1]) for number in NUMBERS]


def test_real_labels_come_from_the_given_file_then_the_column_then_the_file_beside_the_images(tmp_path):
    own = [[label, 1] for label in LABELS]
    other = REAL_LABELS.copy()
    for number, label in zip(NUMBERS, LABELS):
        other[number - 1] = [label, 2]
    names = [validation_file_name(number) for number in NUMBERS]
    root = write_validation_set(tmp_path / "c", names, LABELS, real_labels=own)
    assert open_data_row("imagenet_real", root, test_images=None).accepted[:, 1].tolist() == [1] * len(NUMBERS)
    (tmp_path / "real.json").write_text(json.dumps(other))
    split = open_data_row("imagenet_real", root, test_images=None, real=tmp_path / "real.json")
    assert split.accepted[:, 1].tolist() == [2] * len(NUMBERS)
    beside = write_validation_set(tmp_path / "d", names, LABELS)
    (beside / "real.json").write_text(json.dumps(other))
    assert open_data_row("imagenet_real", beside, test_images=None).accepted[:, 1].tolist() == [2] * len(NUMBERS)
    assert len({split.fingerprint, open_data_row("imagenet_real", root, test_images=None).fingerprint}) == 2


# case: file names and labels, and part of the message
MISFITS = {
    "names lost": ([f"{n}.JPEG" for n in NUMBERS], LABELS, "/2.JPEG is not named like ILSVRC2012_val_00000001.JPEG"),
    "no names": ([None for _ in NUMBERS], LABELS, "Use a copy with the original file names"),
    "training images": ([f"n01440764_{n}.JPEG" for n in NUMBERS], LABELS, "is not named like"),
    "no such number": ([validation_file_name(n + 50_000) for n in NUMBERS], LABELS, "is not named like"),
    "shifted by one": (
        [validation_file_name(n + 1) for n in NUMBERS],
        LABELS,
        "lists and images do not belong together",
    ),
    "labels of another order": (
        [validation_file_name(n) for n in NUMBERS],
        [999 - n for n in LABELS],
        "do not belong together",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_images_that_cannot_be_matched_with_real_labels_are_refused(kind, tmp_path):
    names, labels, part = MISFITS[kind]
    with pytest.raises(UserError) as error:
        open_data_row("imagenet_real", write_validation_set(tmp_path / "c", names, labels), test_images=None)
    assert part in str(error.value) and error.value.status == ExitCode.DATA


@pytest.mark.parametrize("text", ["", "{}", "[[1]]", json.dumps([[1000]] * 50_000), json.dumps([["a"]] * 50_000)])
def test_a_file_without_real_labels_is_refused(text, tmp_path):
    root = write_validation_set(tmp_path / "c", [validation_file_name(number) for number in NUMBERS], LABELS)
    (root / "real.json").write_text(text)
    with pytest.raises(UserError, match="real.json: must be ReaL's real.json") as error:
        open_data_row("imagenet_real", root, test_images=None)
    assert error.value.status == ExitCode.DATA


def test_numbered_folders_are_in_numerical_order(tmp_path):
    root = write_class_folders(tmp_path / "v2", [str(n) for n in range(12)])
    split = open_data_row("imagenet_v2", root, classes=12, test_images=12)
    assert split.classes == tuple(map(str, range(12)))
    assert [key.split("/")[0] for key in split.keys] == [str(label) for label in split.labels]


def test_imagenet_labels_are_mapped_to_the_two_hundred_classes_of_a_subset(tmp_path):
    chosen = imagenet.read_subset_labels("imagenet_a")
    names = [f"{n}.jpg" for n in range(5)]
    split = open_data_row(
        "imagenet_a", write_validation_set(tmp_path / "c", names, chosen[:5].tolist()), test="validation", test_images=5
    )
    assert split.labels.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="3.jpg is in none of its 200 published classes"):
        open_data_row(
            "imagenet_a",
            write_validation_set(tmp_path / "d", names, [6, 11, 13, 0, 15]),
            test="validation",
            test_images=5,
        )
