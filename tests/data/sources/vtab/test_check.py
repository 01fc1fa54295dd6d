"""`vitrun data vtab` checks each original: complete, exact, different or missing."""

import os

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from helpers.vtab_check import find_row, run_data_check
from vitrun.commands.list_data import execute as check_data
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen


def test_the_check_reports_what_is_present_exact_and_missing(root, tmp_path, capsys):
    output, splits = run_data_check(root, tmp_path / "splits.json", capsys)
    assert find_row(output, "eurosat") == ["27000", "exact"]
    assert find_row(output, "flowers102") == ["1020, 1020, 6149", "order computed, no published check value"]
    assert find_row(output, "clevr_dist") == ["missing", "known without its images"] and find_row(output, "dtd") == [
        "missing",
        "-",
    ]
    assert "2 of 19 tasks found" in output and "https://cs.stanford.edu/people/jcjohns/clevr" in output
    assert f"{root / 'dtd'}" in output and "no such folder" in output
    assert len(splits) == 19 and len(splits["flowers102"]["test"]) == 6149 and splits["dtd"]["train800"] is None
    assert splits["cifar100"]["train800"][:2] == ["16399", "1680"]


def test_the_keys_of_eleven_tasks_are_written_without_any_image(tmp_path, capsys):
    output, splits = run_data_check(tmp_path, tmp_path / "splits.json", capsys)
    assert "0 of 19 tasks found" in output and "keys of 11" in output
    assert sum(task["test"] is not None for task in splits.values()) == 11


def test_an_original_with_other_names_differs_and_the_check_fails(root, tmp_path, capsys):
    place = tmp_path / "originals" / "eurosat"
    place.parent.mkdir()
    os.symlink(root / "eurosat", place)
    file = place / "2750" / "Forest" / "Forest_1.jpg"
    file.rename(file.with_name("Forest_3001.jpg"))
    try:
        with pytest.raises(UserError, match="see above.: eurosat") as error:
            run_data_check(place.parent, tmp_path / "splits.json", capsys)
    finally:
        file.with_name("Forest_3001.jpg").rename(file)
    assert error.value.status == ExitCode.DATA


def test_the_check_distinguishes_incomplete_from_missing_originals(tmp_path, capsys):
    (tmp_path / "kitti" / "mapping").mkdir(parents=True)
    with pytest.raises(UserError, match="see above.: kitti") as error:
        check_data(
            resolve.resolve_recipe("data", ["vtab", f"data.root={tmp_path}", f"save={tmp_path / 'splits.json'}"]),
            Screen(),
        )
    output = capsys.readouterr().out
    assert find_row(output, "kitti_dist") == ["incomplete", "-"] and find_row(output, "dmlab") == ["missing", "-"]
    assert error.value.status == ExitCode.DATA


def test_the_check_refuses_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match="there is no folder") as error:
        check_data(resolve.resolve_recipe("data", ["vtab", f"data.root={tmp_path / 'nowhere'}"]), Screen())
    assert error.value.status == ExitCode.DATA


def test_the_check_fails_for_more_or_fewer_classes_than_published(root, tmp_path, capsys):
    place = tmp_path / "originals" / "oxford_flowers102"
    place.mkdir(parents=True)
    for name in ("jpg", "setid.mat"):
        os.symlink(root / "oxford_flowers102" / name, place / name)
    labels = loadmat(root / "oxford_flowers102" / "imagelabels.mat")["labels"]
    savemat(place / "imagelabels.mat", {"labels": np.maximum(labels, 20)})
    with pytest.raises(UserError, match="see above.: oxford_flowers102"):
        check_data(
            resolve.resolve_recipe("data", ["vtab", f"data.root={place.parent}", f"save={tmp_path / 's.json'}"]),
            Screen(),
        )
    output = capsys.readouterr().out
    assert find_row(output, "flowers102")[1] == "differs"
    assert "val200 has images of 71 classes, the published one of 90" in output
