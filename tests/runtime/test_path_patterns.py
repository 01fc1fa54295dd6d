"""A path is what is there, or a pattern of what is there."""

import glob
import os

import pytest

from helpers.images import link_folders
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.path_patterns import expand_pattern, find_matches, resolve_pattern


def test_a_path_that_exists_is_no_pattern_and_a_pattern_is_sorted(tmp_path, monkeypatch):
    for name in ("b.jpg", "a.jpg", "a[1].jpg", "deep/er/c.jpg", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def names(pattern: str) -> list[str]:
        return [path.name for path in expand_pattern(resolve_pattern("images", pattern))]

    assert names("a[1].jpg") == ["a[1].jpg"] and names("*.jpg") == ["a.jpg", "a[1].jpg", "b.jpg"]
    assert names("**/*.jpg") == ["a.jpg", "a[1].jpg", "b.jpg", "c.jpg"] and names("deep") == ["deep"]
    assert resolve_pattern("images", "deep/../b.jpg") == str(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    "pattern, reason",
    [
        ("none.jpg", "no file or folder"),
        ("*.png", "no file matches"),
        ("pipe", "neither"),
        ("http://a/b.jpg", "address"),
    ],
)
def test_what_is_not_there_is_an_error_of_the_option(pattern, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(UserError, match=reason) as caught:
        resolve_pattern("images", pattern)
    assert (caught.value.option, caught.value.status) == ("images", ExitCode.DATA)


def test_a_pattern_matches_what_pythons_glob_matches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tar", "x/a.tar", "x/y/b.tar", "x/[y]/b.tar", ".h/a.tar", "x/.h/a.tar", "z/y/x/c.tar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "w").symlink_to("/dev/null")
    patterns = [
        "**/*.tar",
        "*.tar",
        "**/y/*.tar",
        "x/**/b.tar",
        "x/**/**/b.tar",
        "**/x/**/*.tar",
        "gone/**/*",
        "[xz]/**",
    ]
    for pattern in [*patterns, *(f"{tmp_path}/{pattern}" for pattern in patterns)]:
        expected = {path for path in glob.glob(pattern, recursive=True) if path[-1] != "/"}
        assert find_matches(pattern) == sorted(expected), pattern


def test_a_pattern_ends_in_folders_that_link_to_one_another(tmp_path):
    link_folders(tmp_path, 12)
    (tmp_path / "3" / "a.jpg").touch()
    assert len(find_matches(f"{tmp_path}/**/a.jpg")) == 1
