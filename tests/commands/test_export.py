"""export: its files load in other libraries, with the names of the classes."""

import json

import pytest
from safetensors.torch import load_file, save_file

from helpers.overrides import TINY
from vitrun.commands import export
from vitrun.config import resolve
from vitrun.runtime.console import Screen


def test_exports_for_timm_and_transformers_can_be_used_as_init(run_command, tmp_path):
    _, trained = run_command("pretrain", *TINY)
    for to in ("timm", "hf"):
        export.execute(
            resolve.resolve_recipe("export", [f"to={to}", f"path={tmp_path / to}", f"runs={tmp_path / 'runs'}"]),
            Screen(),
        )
        recipe, result = run_command("eval", f"init={tmp_path / to}", "data=shapes", "data.test_images=50")
        assert recipe.init.startswith(f"{tmp_path / to}#")
        assert result["loss"] == pytest.approx(trained["loss"], rel=1e-2), "bf16 rounds differently where eps does"


def test_exports_keep_the_names_of_the_classes(run_command, photographs, tmp_path):
    overrides = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    recipe, _ = run_command("pretrain", *overrides)
    for to, key, names in (("hf", "id2label", {"0": "cat", "1": "dog"}), ("timm", "label_names", ["cat", "dog"])):
        place = tmp_path / to
        export.execute(
            resolve.resolve_recipe("export", [f"runs={recipe.runs}", f"to={to}", f"path={place}"]), Screen(quiet=True)
        )
        assert json.loads((place / "config.json").read_text())[key] == names


def test_an_export_whose_head_and_names_are_turned_round_scores_the_same(run_command, photographs, tmp_path):
    overrides = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    recipe, _ = run_command("pretrain", *overrides)
    for to, head, key in (("hf", "classifier", "id2label"), ("timm", "head", "label_names")):
        place, scores = tmp_path / to, []
        export.execute(
            resolve.resolve_recipe("export", [f"runs={recipe.runs}", f"to={to}", f"path={place}"]), Screen(quiet=True)
        )
        for _ in range(2):
            scores.append(run_command("eval", f"init={place}", "data=folder", f"data.path={photographs}")[1])
            tensors, config = load_file(place / "model.safetensors"), json.loads((place / "config.json").read_text())
            turned = {f"{head}.{part}": tensors[f"{head}.{part}"].flip(0) for part in ("weight", "bias")}
            save_file({**tensors, **turned}, place / "model.safetensors", {"format": "pt"})
            names = {"hf": {"0": "dog", "1": "cat"}, "timm": ["dog", "cat"]}[to]
            (place / "config.json").write_text(json.dumps(config | {key: names}))
        assert scores[0]["loss"] == pytest.approx(scores[1]["loss"], rel=1e-5)
        assert scores[0]["top1"] == scores[1]["top1"]
