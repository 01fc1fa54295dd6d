"""The history of a run: curves of its metrics, whatever a killed process left in their file."""

import json
import math

import pytest

from vitrun.runs.history import MAX_POINTS, read_history


@pytest.fixture
def write_metrics(tmp_path):
    """Return a function that writes lines, as JSON or as they are, to metrics.jsonl."""

    def write_metrics(*lines):
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        (tmp_path / "metrics.jsonl").write_text("\n".join(texts) + "\n")
        return tmp_path

    return write_metrics


def step(number: int, loss: float, attempt: int = 1) -> dict:
    return {"attempt": attempt, "step": number, "loss": loss, "norm": 1.0, "lr": 0.1, "seconds": 0.5}


def test_of_steps_that_a_resumed_run_repeats_the_last_attempt_counts(write_metrics):
    lines = [step(1, 5.0), step(2, 4.0), step(3, 3.0), {"attempt": 2, "started": "later"}, step(2, 2.0, 2)]
    history = read_history(write_metrics({"attempt": 1, "started": "first"}, *lines))
    assert history.training["loss"] == [(1, 5.0), (2, 2.0)] and history.steps == 2
    assert history.started == ("first", "later")


def test_half_lines_and_values_that_are_no_finite_numbers_are_passed_over(write_metrics):
    lines = ['{"attempt": 1, "step": 1, "lo', "[]", "null", '{"step": "x", "norm": 1}', step(1, math.nan), step(2, 1.5)]
    history = read_history(write_metrics(*lines, '{"step": 3, "loss": true, "norm": 1, "lr": 1e999}'))
    assert history.training["loss"] == [(2, 1.5)] and history.training["lr"] == [(1, 0.1), (2, 0.1)]


def test_what_is_measured_on_the_way_is_apart_from_training(write_metrics):
    probe = {"attempt": 1, "step": 1, "fewshot_digits_5": 0.5, "metrics": {}, "fewshot_seconds": 2.0}
    history = read_history(write_metrics(step(1, 2.0), probe, step(2, 1.0)))
    assert history.measured["fewshot_digits_5"] == [(1, 0.5)] and history.training["loss"] == [(1, 2.0), (2, 1.0)]


def test_a_long_run_has_few_points_with_the_mean_of_their_neighbours(write_metrics):
    folder = write_metrics(*(step(number, float(number)) for number in range(1, 2001)))
    losses = read_history(folder).training["loss"]
    assert len(losses) == MAX_POINTS and losses[0] == (5.5, 5.5) and all(x == y for x, y in losses)
    few = read_history(folder, max_lines=100)
    assert len(few.training["loss"]) == 100 and few.steps == 2000


def test_a_run_without_metrics_has_no_curves(tmp_path):
    assert not read_history(tmp_path).training
