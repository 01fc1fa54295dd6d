"""Survey of a split: every image once, unreadable ones with the reason, equal pixels whatever the format."""

import numpy as np

from helpers.images import write_class_folders
from vitrun.data import survey
from vitrun.data.sources import local_files
from vitrun.recipes import tables


def open_folder(folder):
    """Return all images of class folders."""
    return local_files.open_path(tables.load_data_row("folder", path=folder, train=None), "test")


def test_every_image_is_surveyed_and_equal_pixels_are_found_in_other_files(tmp_path):
    write_class_folders(tmp_path, ["cat", "dog"], 3)
    image = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "dog" / "copy.png").write_bytes(image + b"\0")  # another file of the same pixels
    (tmp_path / "dog" / "bad.png").write_bytes(image[:-30])  # its header is intact
    split = open_folder(tmp_path)
    surveyed = survey.survey_split(split, lambda number: None)
    assert surveyed.looked_at == len(split) == len(surveyed.rows) + 1 and set(surveyed.widths) == set(
        surveyed.heights
    ) == {8}
    assert [split.keys[row] for row in surveyed.unreadable] == ["dog/bad.png"]
    assert surveyed.file_sizes.tolist() == [len((tmp_path / split.keys[row]).read_bytes()) for row in surveyed.rows]
    (copies,) = survey.find_copies({"test": surveyed})
    assert [split.keys[row] for _, row in copies] == ["cat/0.png", "dog/copy.png"]


def test_a_survey_without_time_draws_images_at_random_and_says_how_many(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "ROUND", 5)
    split = open_folder(write_class_folders(tmp_path, ["cat", "dog"], 8))
    surveyed = survey.survey_split(split, lambda number: None, seconds=0)
    assert surveyed.looked_at == len(surveyed.rows) == 5 and len(np.unique(split.labels[surveyed.rows])) == 2
