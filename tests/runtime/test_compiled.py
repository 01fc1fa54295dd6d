"""A compiled function is cached; where it cannot be compiled there is none, and no error."""

import shutil

import pytest

from vitrun.runtime import compiled
from vitrun.runtime.compiled import load_library


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Return a C file with one function; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "answer.c"
    file.write_text("int answer(void) { return 42; }\n")
    return file


@pytest.mark.skipif(not any(map(shutil.which, compiled.COMPILERS)), reason="there is no C compiler")
def test_a_c_file_is_compiled_once_and_again_when_it_changes(source, tmp_path):
    assert load_library(source).answer() == load_library(source).answer() == 42
    assert len([*tmp_path.glob("cache/vitrun/compiled/*")]) == 1
    source.write_text(source.read_text().replace("42", "43"))
    assert load_library(source).answer() == 43


@pytest.mark.parametrize("why", ["no compiler", "no C", "no folder"])
def test_what_cannot_be_compiled_is_none(source, tmp_path, monkeypatch, why):
    if why == "no compiler":
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CC", raising=False)
    elif why == "no C":
        source.write_text("this is no C")
    else:
        (tmp_path / "cache").write_text("a file where the cache's folder would be")
    assert load_library(source) is None
    assert not [*tmp_path.glob("cache/vitrun/compiled/*")]
