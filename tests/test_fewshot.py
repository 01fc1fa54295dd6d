"""The few-shot probe: what its draws hold, how it chooses, what it tells; in the verb and during pretraining."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import TINY
from scipy import stats
from typer.testing import CliRunner

from vitrun import checkpoints, choices, cli, fewshot, linear, meter, models, ridge, run, start
from vitrun.mistakes import Exit, Mistake
from vitrun.probing import is_due
from vitrun.ridge import Features

FEW = ["init=random:vit_nano8", "res=32", "data.test_images=40"]


def clusters(number: int, classes: int = 3, width: int = 6, seed: int = 0) -> Features:
    """Noisy points around one mean a class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(number) % classes
    means = torch.eye(classes, width) * 2
    return Features(means[y] + torch.randn(number, width, generator=generator), y, classes)


def test_each_l2_is_solved_as_if_it_were_alone():
    train, test = clusters(60), clusters(90, seed=1)
    l2s = (1e-3, 1.0, 1e6)
    together = ridge.fit(train.x, train.y, 3, l2s)
    for l2, one in zip(l2s, together):
        torch.testing.assert_close(one.weights, ridge.fit(train.x, train.y, 3, (l2,))[0].weights)
    assert len({one.accuracy(test.x, test.y) for one in together}) > 1


def test_l2_is_chosen_by_training_images_that_no_draw_of_the_seed_holds_and_never_by_the_test_part():
    train, test = clusters(120), clusters(90, seed=1)
    l2s = (1e-3, 10.0, 1e6)
    chosen = ridge.probe(train, test, (1, 5), (0, 1), l2s)
    spoilt = Features(-test.x, test.y, 3)
    assert [one.l2 for one in ridge.probe(train, spoilt, (1, 5), (0, 1), l2s)] == [one.l2 for one in chosen]
    for one in chosen:
        order = ridge.draw(train.y.numpy(), one.seed)
        held = np.concatenate([rows[5 : 5 + ridge.HELD_OUT] for rows in order])
        assert len(held) == 3 * 25 and not set(held) & set(one.rows.tolist())
        alone = {l2: ridge.fit(train.x[one.rows], train.y[one.rows], 3, (l2,))[0] for l2 in l2s}
        scores = {l2: alone[l2].accuracy(train.x[held], train.y[held]) for l2 in l2s}
        assert scores[one.l2] == max(scores.values())
        assert one.accuracy == alone[one.l2].accuracy(test.x, test.y)


def test_where_no_image_is_left_to_choose_by_that_is_said():
    with pytest.raises(Mistake, match=r"l2=\[1,2\]: with 9 shots no training image is left") as error:
        ridge.probe(clusters(27), clusters(9), (9,), (0,), (1.0, 2.0))
    assert error.value.status == Exit.DATA


def test_the_interval_is_students_and_one_draw_has_none():
    values = [0.5, 0.6, 0.55]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert ridge.half_width(values) == pytest.approx((high - low) / 2)
    draws = [ridge.Draw(seed, 5, torch.zeros(1), 1024, value) for seed, value in enumerate(values)]
    found = ridge.summary(draws)
    assert found["shot5_ci95"] == pytest.approx(high - 0.55) and "shot5_l2" not in found
    assert ridge.told("shot5", found) == "55.0 +- 5.0 (95 %: 42.6 to 67.4)"
    alone = ridge.summary(draws[:1])
    assert "shot5_ci95" not in alone and ridge.told("shot5", alone) == "50.0"


def test_a_run_saves_the_keys_that_each_draw_held_and_says_the_l2_of_each(carry_out):
    recipe, result = carry_out("fewshot", *FEW, "shots=1,5", "seeds=0,1", "l2=1,1024")
    folder = recipe.runs / run.name("fewshot", recipe)
    drawn = json.loads((folder / "drawn.json").read_text())
    assert drawn.keys() == {f"seed {seed}, {shots} shots" for seed in (0, 1) for shots in (1, 5)}
    assert all(len(set(keys)) == len(keys) == 10 * int(name.split()[2]) for name, keys in drawn.items())
    assert set(drawn["seed 0, 1 shots"]) < set(drawn["seed 0, 5 shots"])
    assert set(result["shot5_l2"].split()) <= {"1", "1024"} and len(result["shot5_l2"].split()) == 2
    assert "5 shots: " in (folder / "log.txt").read_text() and "(95 %: " in (folder / "log.txt").read_text()


SMALL = [word for word in TINY if word not in ("steps=6", "batch=32")] + ["batch=16", "steps=5", "ema=0.5"]
PROBED = ["fewshot.every=2", "fewshot.data=shapes,digits", "fewshot.shots=1,2", "fewshot.seeds=0"]


def probes(folder) -> dict[int, list[dict]]:
    """The lines of probes in ``metrics.jsonl``, by step."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "fewshot_seconds" in line]
    return {step: [line for line in found if line["step"] == step] for step in {line["step"] for line in found}}


def weights(folder) -> dict[str, str]:
    return {file.name: checkpoints.digest(file) for file in folder.glob("checkpoints/step-*/*.safetensors")}


def test_a_probed_run_ends_with_the_same_bits_and_its_last_probe_is_that_of_the_verb(carry_out):
    plain, without = carry_out("pretrain", *SMALL, "model.dropout=0.1")
    recipe, result = carry_out("pretrain", *SMALL, "model.dropout=0.1", *PROBED)
    folder, other = (one.runs / run.name("pretrain", one) for one in (recipe, plain))
    assert folder != other and weights(folder) == weights(other) and len(weights(folder)) == 2
    assert without["loss"] == result["loss"]

    found = probes(folder)
    assert found.keys() == {0, 2, 4, 5} and all(len(lines) == 1 for lines in found.values())
    sets = {"fewshot_digits_1", "fewshot_digits_2", "fewshot_shapes_1", "fewshot_shapes_2"}
    assert sets <= found[0][0].keys() and all(result[key] == found[5][0][key] for key in sets)
    assert result["fewshot_seconds"] == pytest.approx(
        sum(lines[0]["fewshot_seconds"] for lines in found.values()), abs=0.1
    )

    _, verb = carry_out("fewshot", f"init={folder.name}", "shots=1,2", "seeds=0", "data=digits")
    assert [verb["shot1"], verb["shot2"]] == [result["fewshot_digits_1"], result["fewshot_digits_2"]], "the average's"


def test_after_a_kill_each_probe_is_there_once_with_the_same_values(carry_out, monkeypatch):
    words = [*SMALL, *PROBED[:1], "fewshot.seeds=0", "save_minutes=0"]
    recipe, _ = carry_out("pretrain", *words)
    folder = recipe.runs / run.name("pretrain", recipe)
    whole, ended = probes(folder), weights(folder)
    shutil.rmtree(folder)
    step = meter.Meter.step

    def killed(self, done):
        if done.number == 4:
            raise KeyboardInterrupt
        step(self, done)

    monkeypatch.setattr(meter.Meter, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        carry_out("pretrain", *words)
    monkeypatch.undo()
    assert probes(folder).keys() == {0, 2}
    shutil.rmtree(folder / "checkpoints" / "step-00000003")  # the run goes on from before a probe that it has made
    carry_out("pretrain", *words)
    again = probes(folder)
    assert weights(folder) == ended and all(len(lines) == 1 for lines in again.values())
    untimed = {"attempt", "fewshot_seconds"}
    values = [
        {n: {k: v for k, v in lines[0].items() if k not in untimed} for n, lines in f.items()} for f in (whole, again)
    ]
    assert values[0] == values[1]


def test_a_network_that_learns_without_labels_is_probed_too(carry_out):
    recipe, result = carry_out("pretrain", *SMALL, "objective=masked", "fewshot.every=50%", "fewshot.seeds=0")
    assert 0 <= result["fewshot_shapes_5"] <= 1
    folder = recipe.runs / run.name("pretrain", recipe)
    assert probes(folder).keys() == {0, 2, 5}, "steps 2.5 and 5 of 5, the last of which is not probed twice"


@pytest.mark.parametrize(
    "every, steps, due",
    [
        ("25%", 781, [0, 195, 390, 586, 781]),
        ("100%", 5, [0, 5]),
        ("0.0000001%", 3, [0, 1, 2, 3]),
        (2, 5, [0, 2, 4, 5]),
        (9, 5, [0, 5]),
    ],
)
def test_a_share_of_the_run_is_its_nearest_steps(every, steps, due):
    assert [step for step in range(steps + 1) if is_due(step, every, steps)] == due


def test_a_probe_is_as_the_verb_reads_its_data(tmp_path):
    words = ["data=shapes", "data.train_images=99", "fewshot.every=5%", "fewshot.data=shapes,digits,cifar10"]
    found = start.probes(start.load("pretrain", [*words, f"fewshot.paths=[null,null,{tmp_path}]"]))
    assert found["shapes"].data.train_images == 99 and found["shapes"].view.crop == 0.875
    assert found["digits"].view.crop == 1 and not found["digits"].view.antialias
    assert found["cifar10"].data.path == tmp_path
    assert list(start.probes(start.load("pretrain", ["data=digits", "fewshot.every=7"]))) == ["digits"]
    assert start.probes(start.load("pretrain", ["data=digits"])) == {}


def test_the_linear_probe_reaches_the_minimum_that_scikit_learn_finds():
    from sklearn.linear_model import LogisticRegression

    train = clusters(200)
    weights, converged = linear.fit(train.x, train.y, 3, 0.01)
    reference = LogisticRegression(C=1 / (200 * 0.01), tol=1e-8, max_iter=10_000).fit(train.x.numpy(), train.y.numpy())
    assert converged
    np.testing.assert_allclose(weights[:-1].T, reference.coef_, atol=2e-3)
    np.testing.assert_allclose(weights[-1] - weights[-1].mean(), reference.intercept_, atol=2e-3)


def test_the_linear_probe_never_chooses_by_the_test_part():
    train, test, l2s = clusters(200), clusters(90, seed=1), (10.0, 0.01, 1e-4)
    found = linear.probe(train.x, train.y, test.x, test.y, 3, l2s)
    other = linear.probe(train.x, train.y, -test.x, test.y, 3, l2s)
    assert (found.l2, found.held_out) == (other.l2, other.held_out) and found.accuracy > 0.7 > other.accuracy


LINEAR = [*FEW, "data=shapes", "data.target=shape", "data.train_images=60", "probe=linear", "linear.l2=0.1,1"]


def test_every_layer_is_probed_whether_read_in_one_pass_or_in_many(carry_out, monkeypatch):
    recipe, result = carry_out("fewshot", *LINEAR, "layers=all")
    names = [f"layer{n}" for n in range(choices.model_rows()["vit_nano8"].depth + 1)]
    assert [key for key in result if key.startswith("layer") and key[5:].isdigit()] == names
    assert result["best_layer"] in names and "shot5" not in result
    shutil.rmtree(recipe.runs)
    monkeypatch.setattr(fewshot, "AT_ONCE", 1)
    assert carry_out("fewshot", *LINEAR, "layers=all")[1] == result
    assert carry_out("fewshot", *LINEAR, "layers=2")[1]["layer2"] == result["layer2"]


def test_the_last_layer_gives_what_the_head_reads():
    network = models.build(choices.model_rows()["vit_nano8"], 1, 32).eval()
    images = torch.randn(2, 3, 32, 32)
    tokens = models.layered(network, images)
    assert len(tokens) == len(network.blocks) + 1
    torch.testing.assert_close(network.norm(tokens[-1])[:, 0], network.features(images))


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["layers=all"], "layers=all is for probe=linear"),
        (["probe=linear", "layers=all,1"], "it should be last, or all, or numbers alone"),
        (["probe=linear", "layers=99"], "vit_nano8 has layers 0 to"),
    ],
)
def test_layers_that_cannot_be_are_told(carry_out, words, sentence):
    with pytest.raises(Mistake, match=sentence):
        carry_out("fewshot", *FEW, *words)


def test_only_the_last_layer_of_a_network_of_timm_or_bit_can_be_read(carry_out):
    words = ["init=random:bit_r50x1", "res=32", "data=shapes", "data.train_images=130", "data.test_images=10"]
    with pytest.raises(Mistake, match="bit_r50x1 is none of .*Use layers=last"):
        carry_out("fewshot", *words, "probe=linear", "layers=all", dry=True)
    assert 0 <= carry_out("fewshot", *LINEAR, "layers=last")[1]["last"] <= 1


def test_several_data_sets_are_probed_by_one_command_each_in_its_own_folder(tmp_path):
    words = [*FEW, "data=digits,shapes", "shots=1", "seeds=0,1", f"runs={tmp_path}"]
    command = CliRunner()
    first = command.invoke(cli.app, ["fewshot", *words, "--json"])
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert found.keys() == {"digits", "shapes"} and len(list(tmp_path.glob("fewshot-*/result.json"))) == 2
    logs = {file.parent.name.split("-")[2]: file.read_text() for file in tmp_path.glob("fewshot-*/log.txt")}
    assert "data: digits" in logs["digits"] and "data: shapes" not in logs["digits"]

    again = command.invoke(cli.app, ["fewshot", *words])
    assert again.output.count("is finished") == 2, "nothing is repeated"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in again.output.splitlines()[-4:]]
    assert rows[0] == ["data", "shot1"] and [rows[2][0], rows[3][0]] == ["digits", "shapes"]
    assert rows[2][1].startswith(f"{100 * found['digits']['shot1']:.1f} +- ")


def test_of_several_data_sets_one_path_is_refused_and_all_are_checked_before_the_first(tmp_path):
    command = CliRunner()
    for words, sentence in (
        (["data=digits,folder", "data.path=."], "data.path=. cannot be with data=digits,folder"),
        (["data=digits,digitz"], "No data 'digitz'"),
        (["data=digits,folder"], "data=folder needs to know where the images are"),
        (["data=digits,digits"], "has digits twice"),
    ):
        told = command.invoke(cli.app, ["fewshot", *FEW, *words, f"runs={tmp_path}"])
        assert told.exit_code == 2 and sentence in told.output and not list(tmp_path.iterdir())
