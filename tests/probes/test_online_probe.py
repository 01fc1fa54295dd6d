"""The few-shot probe during pretraining changes no bit of the run and equals the result of `fewshot`."""

import json
import shutil

import pytest

from helpers.overrides import TINY
from vitrun.engine import progress
from vitrun.engine.intervals import is_due
from vitrun.runs import run
from vitrun.runtime import files


def test_a_probe_is_in_the_result_even_if_its_line_could_not_be_written(run_command, monkeypatch):
    monkeypatch.setattr(run.Run, "append_line", lambda self, file, line: None)
    _, result = run_command("pretrain", *TINY, "fewshot.every=50%", "fewshot.data=[digits]", "fewshot.shots=[1]")
    assert 0 < result["fewshot_digits_1"] < 1


SMALL = [override for override in TINY if override not in ("steps=6", "batch=32")] + ["batch=16", "steps=5", "ema=0.5"]
PROBED = ["fewshot.every=2", "fewshot.data=shapes,digits", "fewshot.shots=1,2", "fewshot.seeds=0"]


def read_probes(folder) -> dict[int, list[dict]]:
    """Return the lines of probes in ``metrics.jsonl``, by step."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    probe_lines = [line for line in lines if "fewshot_seconds" in line]
    return {
        step: [line for line in probe_lines if line["step"] == step] for step in {line["step"] for line in probe_lines}
    }


def read_weights(folder) -> dict[str, str]:
    return {file.name: files.hash_file(file) for file in folder.glob("checkpoints/step-*/*.safetensors")}


def test_a_probed_run_ends_with_the_same_bits_and_its_last_probe_equals_fewshot(run_command):
    plain, without = run_command("pretrain", *SMALL, "model.dropout=0.1")
    recipe, result = run_command("pretrain", *SMALL, "model.dropout=0.1", *PROBED)
    folder, other = (one.runs / run.run_name("pretrain", one) for one in (recipe, plain))
    assert folder != other and read_weights(folder) == read_weights(other) and len(read_weights(folder)) == 2
    assert without["loss"] == result["loss"]

    lines_by_step = read_probes(folder)
    assert lines_by_step.keys() == {0, 2, 4, 5} and all(len(lines) == 1 for lines in lines_by_step.values())
    sets = {"fewshot_digits_1", "fewshot_digits_2", "fewshot_shapes_1", "fewshot_shapes_2"}
    assert sets <= lines_by_step[0][0].keys() and all(result[key] == lines_by_step[5][0][key] for key in sets)
    assert result["fewshot_seconds"] == pytest.approx(
        sum(lines[0]["fewshot_seconds"] for lines in lines_by_step.values()), abs=0.1
    )

    _, fewshot = run_command("fewshot", f"init={folder.name}", "shots=1,2", "seeds=0", "data=digits")
    assert [fewshot["shot1"], fewshot["shot2"]] == [result["fewshot_digits_1"], result["fewshot_digits_2"]], (
        "the average's"
    )


def test_a_killed_and_resumed_run_has_each_probe_once_with_the_same_values(run_command, monkeypatch):
    overrides = [*SMALL, *PROBED[:1], "fewshot.seeds=0", "save_minutes=0"]
    recipe, _ = run_command("pretrain", *overrides)
    folder = recipe.runs / run.run_name("pretrain", recipe)
    uninterrupted, expected_weights = read_probes(folder), read_weights(folder)
    shutil.rmtree(folder)
    step = progress.Meter.record_step

    def kill(self, done):
        if done.number == 4:
            raise KeyboardInterrupt
        step(self, done)

    monkeypatch.setattr(progress.Meter, "record_step", kill)
    with pytest.raises(KeyboardInterrupt):
        run_command("pretrain", *overrides)
    monkeypatch.undo()
    assert read_probes(folder).keys() == {0, 2}
    shutil.rmtree(folder / "checkpoints" / "step-00000003")  # so that the run resumes from before a finished probe
    run_command("pretrain", *overrides)
    resumed = read_probes(folder)
    assert read_weights(folder) == expected_weights and all(len(lines) == 1 for lines in resumed.values())
    untimed = {"attempt", "fewshot_seconds"}
    values = [
        {n: {k: v for k, v in lines[0].items() if k not in untimed} for n, lines in f.items()}
        for f in (uninterrupted, resumed)
    ]
    assert values[0] == values[1]


def test_a_network_trained_without_labels_is_probed_too(run_command):
    recipe, result = run_command("pretrain", *SMALL, "objective=masked", "fewshot.every=50%", "fewshot.seeds=0")
    assert 0 <= result["fewshot_shapes_5"] <= 1
    folder = recipe.runs / run.run_name("pretrain", recipe)
    assert read_probes(folder).keys() == {0, 2, 5}, "steps 2.5 and 5 of 5, the last of which is not probed twice"


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
def test_probes_at_a_share_of_the_run_are_at_the_nearest_steps(every, steps, due):
    assert [step for step in range(steps + 1) if is_due(step, every, steps)] == due
