"""models: the sizes of networks are measured once."""

import pytest

from vitrun.commands import list_models
from vitrun.config import resolve
from vitrun.runtime.console import Screen


@pytest.fixture
def measured(monkeypatch, tmp_path) -> list[str]:
    """Return the names of the models that are measured from now on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names, measure = [], list_models.measure
    monkeypatch.setattr(list_models, "measure", lambda row, *size: names.append(row.name) or measure(row, *size))
    return names


def list_sizes(*overrides: str) -> list[tuple[str, int, int]]:
    """Return name, parameters and multiply-adds of some models."""
    rows = list_models.execute(resolve.resolve_recipe("models", [*overrides]), Screen(quiet=True))["models"]
    return [(row["name"], row["parameters"], row["macs"]) for row in rows]


def test_a_model_is_measured_once_for_each_number_of_classes_and_resolution(measured, tmp_path):
    first = list_sizes("only=[nano8,vit_ti16]")
    assert len(measured) == len(first) and all(parameters for _, parameters, _ in first)
    assert list_sizes("only=[nano8,vit_ti16]") == first and len(measured) == len(first)
    assert list_sizes("only=[nano8]", "res=64") != list_sizes("only=[nano8]", "classes=7")
    assert measured[len(first) :] == ["vit_nano8"] * 2
    (tmp_path / "vitrun" / "model_sizes.json").write_text('{"a": [1, 2], "b": 3}')
    assert list_sizes("only=[nano8,vit_ti16]") == first


def test_an_own_model_is_measured_again_when_its_row_changes(measured, tmp_path, monkeypatch):
    sizes = []
    for width in (192, 384):
        file = tmp_path / f"{width}" / "model" / "mine.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"# Mine\ndefaults: [vit_ti16, _self_]\nname: mine\nwidth: {width}\n")
        monkeypatch.setenv("VITRUN_CONF", str(tmp_path / f"{width}"))
        sizes += list_sizes("only=[mine]") + list_sizes("only=[mine]")
    assert measured == ["mine", "mine"] and sizes[0] == sizes[1] != sizes[2] == sizes[3]
