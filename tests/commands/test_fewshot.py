"""fewshot: linear probes of all layers, several data sets, the images of each draw."""

import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.networks import compute_logits, make_inputs
from helpers.runs import run_folder
from vitrun import data, models
from vitrun.cli import app
from vitrun.commands import export, fewshot
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.recipes import tables
from vitrun.runs import run
from vitrun.runs.classification import list_surest_mistakes
from vitrun.runs.lookup import find_weights_file
from vitrun.runs.predictions import load_predictions
from vitrun.runtime.console import Screen

FEW = ["init=random:vit_nano8", "res=32", "data.test_images=40"]


def test_a_run_saves_the_keys_of_each_draw_and_prints_the_l2_of_each(run_command):
    recipe, result = run_command("fewshot", *FEW, "shots=1,5", "seeds=0,1", "l2=1,1024")
    folder = recipe.runs / run.run_name("fewshot", recipe)
    drawn = json.loads((folder / "drawn.json").read_text())
    assert drawn.keys() == {f"seed {seed}, {shots} shots" for seed in (0, 1) for shots in (1, 5)}
    assert all(len(set(keys)) == len(keys) == 10 * int(name.split()[2]) for name, keys in drawn.items())
    assert set(drawn["seed 0, 1 shots"]) < set(drawn["seed 0, 5 shots"])
    assert set(result["l2"]["5"]) <= {1, 1024} and len(result["l2"]["5"]) == 2
    assert "5 shots: " in (folder / "log.txt").read_text() and "(95 %: " in (folder / "log.txt").read_text()


def test_the_predictions_of_the_draws_with_most_shots_have_their_accuracy(run_command):
    recipe, result = run_command("fewshot", *FEW, "shots=1,5", "seeds=0,7")
    table = load_predictions(run_folder(recipe, "fewshot"))
    assert len(table.keys) == 80 and len(set(table.keys)) == 40 and table.draws.tolist() == [0] * 40 + [7] * 40
    assert table.is_correct.mean() == pytest.approx(result["shot5"])
    mistakes = list_surest_mistakes(table, 40)
    assert len({mistake.key for mistake in mistakes}) == len(mistakes) > 5
    recipe, result = run_command("fewshot", *FEW, "shots=2", "seeds=0")
    table = load_predictions(run_folder(recipe, "fewshot"))
    assert table.draws is None and table.is_correct.mean() == pytest.approx(result["shot2"])


def test_draws_are_of_the_first_images_in_the_published_order(run_command, monkeypatch):
    rows = np.arange(1757)[::-1].copy()  # 40 of the 1797 digits are for the test

    def find_reversed_half(source, train):
        return data.DrawPool(rows[-900:], "draws start from the published order")

    monkeypatch.setattr(data, "find_draw_pool", find_reversed_half)
    recipe, _ = run_command("fewshot", *FEW, "shots=2", "seeds=0")
    folder = recipe.runs / run.run_name("fewshot", recipe)
    (drawn,) = json.loads((folder / "drawn.json").read_text()).values()
    train = data.open_split(recipe.data, "train")
    labels = train.labels[rows[-900:]]
    generator = np.random.default_rng(0)
    expected = [generator.permutation(np.flatnonzero(labels == label))[:2] for label in range(10)]
    assert drawn == [train.keys[row] for row in rows[-900:][np.concatenate(expected)]]
    assert "draws start from the published order" in (folder / "log.txt").read_text()


def test_a_dry_run_counts_the_images_to_embed(run_command):
    overrides = ["fewshot", *FEW, "shots=1,5", "seeds=0,1"]
    _, plan = run_command(*overrides, dry=True)
    recipe, _ = run_command(*overrides)
    drawn = json.loads((run_folder(recipe, "fewshot") / "drawn.json").read_text())
    assert plan["images_to_embed"] == 40 + len({key for keys in drawn.values() for key in keys}) < 40 + 2 * 50
    assert run_command(*overrides, "l2=1", dry=True)[1]["images_to_embed"] == 0, "they are cached"
    imagenet = ["fewshot", "init=random:vit_nano8", "res=32", "data=imagenet", "shots=5"]
    assert run_command(*imagenet, dry=True)[1]["images_to_embed"] == 3 * 5 * 1000 + 50_000
    assert run_command(*imagenet, "probe=linear", dry=True)[1]["images_to_embed"] == 1_281_167 + 50_000


LINEAR = [*FEW, "data=shapes", "data.target=shape", "data.train_images=60", "probe=linear", "linear.l2=0.1,1"]


def test_probes_of_all_layers_are_the_same_in_one_pass_and_in_many(run_command, monkeypatch):
    recipe, result = run_command("fewshot", *LINEAR, "layers=all")
    names = [f"layer{n}" for n in range(tables.load_model_rows()["vit_nano8"].depth + 1)]
    assert list(result["metrics"]) == [*names, "best"] and list(result["l2"]) == names
    assert result["best"] == result[result["best_layer"]]
    assert result["best_layer"] in names and "shot5" not in result
    shutil.rmtree(recipe.runs)
    monkeypatch.setattr(fewshot, "MAX_FEATURE_BYTES", 1)
    assert run_command("fewshot", *LINEAR, "layers=all")[1] == result
    assert run_command("fewshot", *LINEAR, "layers=2")[1]["layer2"] == result["layer2"]


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        (["layers=all"], "is for the linear probe: add probe=linear"),
        (["probe=linear", "layers=all,1"], "must be last, or all, or numbers alone"),
        (["probe=linear", "layers=99"], "vit_nano8 has layers 0 to"),
    ],
)
def test_layers_that_do_not_exist_are_refused(run_command, overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        run_command("fewshot", *FEW, *overrides)


def test_only_the_last_layer_of_a_network_of_timm_or_bit_can_be_probed(run_command):
    overrides = ["init=random:bit_r50x1", "res=32", "data=shapes", "data.train_images=130", "data.test_images=10"]
    with pytest.raises(UserError, match="bit_r50x1 is not one of .*Use layers=last"):
        run_command("fewshot", *overrides, "probe=linear", "layers=all", dry=True)
    assert 0 <= run_command("fewshot", *LINEAR, "layers=last")[1]["last"] <= 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_linear_probe_is_kept_as_weights_that_eval_and_export_take(run_command, tmp_path, precision):
    recipe, result = run_command("fewshot", *LINEAR, f"precision={precision}")
    init = run.run_name("fewshot", recipe)
    evaluated, metrics = run_command("eval", f"init={init}", f"precision={precision}")
    saved = load_predictions(run_folder(recipe, "fewshot"))
    assert saved.is_correct.mean() == pytest.approx(result["last"])
    assert metrics["top1"] == result["last"] and (evaluated.view, evaluated.data) == (recipe.view, recipe.data)
    if precision == "fp32":
        runs, file = tmp_path / "runs", tmp_path / "probe.npz"
        export.execute(
            resolve.resolve_recipe("export", [f"init={init}", "to=npz", f"path={file}", f"runs={runs}"]), Screen()
        )
        weights = [models.load(find_weights_file(init, runs)), models.load(file)]
        images = make_inputs()
        torch.testing.assert_close(*[compute_logits(loaded.network, images) for loaded in weights])
        assert len(weights[0].names) == weights[0].classes == weights[1].classes


def test_a_probe_of_few_shots_or_of_a_layer_in_between_has_no_weights(run_command):
    recipe, _ = run_command("fewshot", *LINEAR, "layers=2")
    with pytest.raises(UserError, match="probe=linear layers=last"):
        run_command("eval", f"init={run.run_name('fewshot', recipe)}")


def test_one_command_probes_several_data_sets_in_folders_of_their_own(tmp_path):
    overrides = [*FEW, "data=digits,shapes", "shots=1", "seeds=0,1", f"runs={tmp_path}"]
    command = CliRunner()
    first = command.invoke(app.app, ["fewshot", *overrides, "--json"])
    assert first.exit_code == 0, first.output
    results = json.loads(first.stdout)
    assert results.keys() == {"digits", "shapes"} and len(list(tmp_path.glob("fewshot-*/result.json"))) == 2
    logs = {file.parent.name.split("-")[2]: file.read_text() for file in tmp_path.glob("fewshot-*/log.txt")}
    assert "data: digits" in logs["digits"] and "data: shapes" not in logs["digits"]

    again = command.invoke(app.app, ["fewshot", *overrides])
    assert again.output.count("is finished") == 2, "nothing is repeated"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in again.output.splitlines()[-4:]]
    assert rows[0] == ["data", "shot1"] and [rows[2][0], rows[3][0]] == ["digits", "shapes"]
    assert rows[2][1].startswith(f"{100 * results['digits']['shot1']:.1f} +- ")


def test_one_path_for_several_data_sets_is_refused_and_all_are_checked_before_the_first(tmp_path):
    command = CliRunner()
    for overrides, sentence in (
        (["data=digits,folder", "data.path=."], "data.path=. is the folder of one data set"),
        (["data=digits,digitz"], "Unknown data 'digitz'"),
        (["data=digits,folder"], "data=folder: needs a folder of images"),
        (["data=digits,digits"], "has digits twice"),
    ):
        done = command.invoke(app.app, ["fewshot", *FEW, *overrides, f"runs={tmp_path}"])
        assert done.exit_code == 2 and sentence in done.output and not list(tmp_path.iterdir())
