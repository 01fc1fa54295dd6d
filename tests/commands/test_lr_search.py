"""The paper's procedure: a learning rate chosen on held-out images, then one run per seed."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrun import data
from vitrun.commands import finetune, lr_search
from vitrun.config import expand, resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import execution, init_resolution, lookup, run
from vitrun.runtime.console import Screen

FAST = ["init=random:vit_nano8", "res=16", "batch=64", "epochs=null", "steps=3", "warmup=1", "data.test_images=40"]
WHOLE = [*FAST, "grid=0.01,0.1", "dev=0.1", "seeds=0,1"]


def load_metrics(recipe) -> list[dict]:
    """Return the metrics of the run of a recipe, a dict per line."""
    place = recipe.runs / run.run_name("finetune", recipe)
    return [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]


def count_starts(runs: Path) -> dict[str, int]:
    """Return how often each run was started."""
    return {file.parent.name: file.read_text().count('"started"') for file in runs.glob("*/metrics.jsonl")}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run a search; return its recipe, its result, and the splits that were opened for it."""
    opened = []
    open_split = data.open_split

    def listed(source, part, screen, tick):
        opened.append(part)
        return open_split(source, part, screen, tick)

    recipe = resolve.resolve_recipe("finetune", [*WHOLE, f"runs={tmp_path_factory.mktemp('procedure')}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "open_split", listed)
        return recipe, execution.execute_run("finetune", recipe, Screen(quiet=True), finetune.execute), opened


def test_the_result_has_the_trials_the_chosen_learning_rate_the_final_runs_and_their_mean(done):
    recipe, result, _ = done
    scores = {trial["lr"]: trial["top1"] for trial in result["trials"]}
    assert scores.keys() == set(recipe.grid)
    assert result["lr"] == max(sorted(scores), key=scores.get) and result["test_images"] == 40
    seeds = [final["top1"] for final in result["finals"]]
    assert [final["seed"] for final in result["finals"]] == [0, 1]
    assert result["top1"] == pytest.approx(np.mean(seeds))
    assert result["metrics"]["top1"]["std"] == pytest.approx(np.std(seeds, ddof=1))


def test_trials_and_final_runs_equal_single_runs_with_the_same_overrides(done):
    recipe, result, _ = done
    for trial in result["trials"]:
        overrides = [*FAST, f"optim.lr={trial['lr']}", "dev=0.1", "score=dev", f"runs={recipe.runs}"]
        place = recipe.runs / run.run_name("finetune", resolve.resolve_recipe("finetune", overrides))
        stored = json.loads((place / "result.json").read_text())["result"]
        assert stored["top1"] == trial["top1"] and stored["test_images"] == round(0.1 * (1797 - 40))
    for final in result["finals"]:
        overrides = [*FAST, f"optim.lr={result['lr']}", f"seed={final['seed']}", f"runs={recipe.runs}"]
        place = recipe.runs / run.run_name("finetune", resolve.resolve_recipe("finetune", overrides))
        assert json.loads((place / "result.json").read_text())["result"]["top1"] == final["top1"]
        assert final["run"] == place.name
    assert len(list(recipe.runs.iterdir())) == 2 + 2 + 1, "and the search itself has a folder"


def test_a_search_that_is_taken_for_weights_is_refused_with_the_runs_that_have_some(done):
    recipe, result, _ = done
    for option in ("init", "teacher"):
        with pytest.raises(UserError) as caught:
            init_resolution.resolve_init(run.run_name("finetune", recipe), recipe.runs, "eval", option)
        assert caught.value.status == ExitCode.CHECKPOINT and caught.value.option == option
        assert all(final["run"] in str(caught.value) for final in result["finals"])


def test_the_images_are_opened_once_and_the_test_split_only_after_the_choice(done):
    recipe, _, opened = done
    assert opened == ["train", "test"]
    assert [line["part"] for line in load_metrics(recipe) if "part" in line] == ["trial", "trial", "final", "final"]
    for place in recipe.runs.glob("*"):
        about = place / "about.json"
        if "score: dev" in (place / "recipe.yaml").read_text():
            assert "test_data" not in json.loads(about.read_text())


def test_finished_parts_are_not_repeated(done):
    recipe, result, _ = done
    before = count_starts(recipe.runs)
    (recipe.runs / run.run_name("finetune", recipe) / "result.json").unlink()  # as if killed before its end
    last = recipe.runs / run.run_name("finetune", expand.make_final_run(recipe, (result["lr"], 0.0), 1))
    (last / "result.json").unlink()
    assert execution.execute_run("finetune", recipe, Screen(quiet=True), finetune.execute) == result
    changed = {name for name, number in count_starts(recipe.runs).items() if number != before[name]}
    assert changed == {run.run_name("finetune", recipe), last.name} and set(before.values()) == {1}


def test_the_newest_model_is_a_final_run(done):
    recipe, _, _ = done
    newest = lookup.load_saved_recipe(init_resolution.find_latest_run(recipe.runs, "eval"), recipe.runs)
    assert newest["score"] == "test" and not newest["grid"] and not newest["seeds"]


@pytest.mark.parametrize("best", [0.01, 0.03, 0.1])
def test_the_smallest_of_equal_learning_rates_is_chosen(best, tmp_path):
    tied = {0.1: 0.5, 0.03: 0.5, 0.01: 0.5} | {best: 0.7 if best != 0.01 else 0.5}

    def tune(recipe, run, open_split):
        return {"top1": tied[recipe.optim.lr], "top5": 1.0, "test_images": 1}

    recipe = resolve.resolve_recipe("finetune", [*FAST, "grid=[0.1,0.01,0.03]", "dev=0.1", f"runs={tmp_path}"])
    result = execution.execute_run(
        "finetune", recipe, Screen(quiet=True), partial(lr_search.search_learning_rate, tune=tune)
    )
    assert result["lr"] == best and result["metrics"]["top1"]["std"] is None, "one run has no deviation"


def test_a_learning_rate_that_diverges_is_reported_and_the_others_continue(run_command, capsys):
    recipe, result = run_command("finetune", *FAST, "grid=1e30,0.1", "dev=0.1")
    scores = {trial["lr"]: trial["top1"] for trial in result["trials"]}
    assert result["lr"] == 0.1 and scores[1e30] is None and 0 <= scores[0.1] <= 1
    assert "learning rate 1e+30 failed: Step" in capsys.readouterr().err


def test_a_search_fails_if_every_learning_rate_diverges(run_command):
    with pytest.raises(UserError, match="All 2 points of the grid failed") as error:
        run_command("finetune", *FAST, "grid=1e30,1e31", "dev=0.1")
    assert error.value.status == ExitCode.NUMERICS


def test_ctrl_c_stops_a_search_and_the_same_command_continues_it(tmp_path):
    recipe = resolve.resolve_recipe("finetune", [*WHOLE, f"runs={tmp_path}"])

    def interrupted(recipe, run, open_split):
        if recipe.score == "test":
            os.kill(os.getpid(), signal.SIGINT)
        return finetune.finetune_once(recipe, run, open_split)

    with pytest.raises(run.Interrupted):
        execution.execute_run(
            "finetune", recipe, Screen(quiet=True), partial(lr_search.search_learning_rate, tune=interrupted)
        )
    assert len(list(tmp_path.glob("*/result.json"))) == 2, "the grid is finished"
    result = execution.execute_run("finetune", recipe, Screen(quiet=True), finetune.execute)
    assert result["metrics"]["top1"]["std"] >= 0 and sorted(count_starts(tmp_path).values()) == [1, 1, 1, 2, 2]


def test_a_dry_run_estimates_all_runs_and_writes_nothing(run_command, tmp_path):
    _, one = run_command("finetune", *FAST, dry=True)
    _, search = run_command("finetune", *WHOLE, dry=True)
    assert search["runs"] == 4 and search["hours"] > one["hours"] and not (tmp_path / "runs").exists()


def test_a_single_run_leaves_out_the_held_out_images_and_is_tested_on_the_test_split(run_command):
    recipe, result = run_command("finetune", *FAST, "dev=0.2")
    log = (recipe.runs / run.run_name("finetune", recipe) / "log.txt").read_text()
    assert result["test_images"] == 40 and "held out: 351 random training images" in log


EPOCH, THOUSAND = "epochs=1 batch=100", "data.test_images=797"  # digits are 1,797
STEPS = "steps of epochs=1 of the %d images not held out in batches of 100"
# overrides, the option at fault, the message
WRONG = [
    ("grid=0.1,0.1 dev=0.1", "grid", "0.1 is given twice"),
    ("seeds=1,1", "seeds", "1 is given twice"),
    ("decays=0,0.1 dev=0.1", "decays", "needs learning rates to search with: add grid="),
    ("grid=0.1,0.2", "grid", "needs held-out images: add their share, as in dev=0.02"),
    ("score=dev", "score", "is for a single run that holds images out"),
    ("score=dev dev=0.1 seeds=0", "score", "is for a single run that holds images out"),
    ("dev=1", "dev", "must be less than 1"),
    ("data=vtab/pets data.root=/ dev=0.2", "dev", "must be 0"),
    ("data=vtab/pets data.root=/ grid=0.1 data.train=train800", "grid", "searches on val200 itself"),
    # a trial has fewer images than the final runs, so fewer steps remain after the warm-up
    (f"data=vtab/dtd data.root=/ grid=0.1,0.2 {EPOCH} warmup=9", "warmup", f"leaves no step of the 8 {STEPS % 800}"),
    (f"{THOUSAND} grid=0.1,0.2 dev=0.3 {EPOCH} warmup=8", "warmup", f"leaves no step of the 7 {STEPS % 700}"),
    (f"{THOUSAND} dev=0.3 {EPOCH} warmup=8", "warmup", f"leaves no step of the 7 {STEPS % 700}"),
    (
        f"{THOUSAND} grid=0.1 dev=0.3 {EPOCH} warmup=1 schedule=staircase drops=8",
        "drops",
        f"and the end of the 7 {STEPS % 700}",
    ),
    (f"{THOUSAND} grid=0.1 dev=0.9999", "dev", "leaves none of 1000 training images to train on"),
]


@pytest.mark.parametrize("overrides, option, message", WRONG, ids=[overrides for overrides, *_ in WRONG])
def test_an_impossible_search_is_refused_before_it_starts(overrides, option, message):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune", ["init=random:vit_nano8", *overrides.split()])
    assert (error.value.option, error.value.status) == (option, ExitCode.COMMAND)
    assert message in str(error.value)


def test_too_few_own_images_are_refused_before_the_first_step(run_command, tmp_path):
    generator = np.random.default_rng(0)
    for n in range(40):
        place = tmp_path / "own" / ("train", "test")[n % 4 == 0] / "ab"[n % 2 == 0]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(place / f"{n}.png")
    data = ["data=folder", f"data.path={tmp_path / 'own'}", "grid=0.1,0.2", "dev=0.2"]
    with pytest.raises(UserError, match="of the 5 steps of epochs=1 of the 24 images not held out") as error:
        run_command("finetune", "init=random:vit_nano8", *data, "epochs=1", "batch=5", "warmup=5")
    assert error.value.status == ExitCode.COMMAND and not any((tmp_path / "runs").iterdir())


def test_a_weight_decay_is_chosen_with_the_learning_rate(run_command):
    recipe, result = run_command("finetune", *FAST, "grid=0.01,0.1", "decays=0,0.01", "dev=0.1")
    grid = [(lr, decay) for lr in (0.01, 0.1) for decay in (0.0, 0.01)]
    scores = {(trial["lr"], trial["weight_decay"]): trial["top1"] for trial in result["trials"]}
    assert scores.keys() == set(grid)
    assert (result["lr"], result["weight_decay"]) == max(sorted(scores), key=scores.get)
    overrides = [
        *FAST,
        f"optim.lr={result['lr']}",
        f"optim.weight_decay={result['weight_decay']}",
        f"runs={recipe.runs}",
    ]
    place = recipe.runs / run.run_name("finetune", resolve.resolve_recipe("finetune", overrides))
    assert json.loads((place / "result.json").read_text())["result"]["top1"] == result["top1"]
    assert len(list(recipe.runs.glob("*/result.json"))) == 4 + 1 + 1


def test_a_trial_on_vtab_trains_on_800_and_is_scored_on_200():
    overrides = ["init=random:vit_nano8", "data=vtab/pets", "data.root=/", "grid=0.1,0.2"]
    recipe = resolve.resolve_recipe("finetune", overrides)
    trial, final = expand.make_trial(recipe, (0.1, 0.0)), expand.make_final_run(recipe, (0.1, 0.0), 7)
    assert (trial.data.train, trial.data.test, trial.score) == ("train800", "val200", "dev")
    assert (final.data, final.score, final.seed, final.grid) == (recipe.data, "test", 7, ())
