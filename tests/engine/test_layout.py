"""A measured layout is the fastest of those that fit, is chosen once on a machine, and stays that of a run."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.overrides import TINY
from helpers.runs import hash_weights, interrupted_after
from vitrun.engine import layout_search, step_layout
from vitrun.engine.layout import Layout, list_neighbours
from vitrun.engine.layout_search import MOST_SECONDS, Clock, find_fastest
from vitrun.engine.step_layout import StepLayouts
from vitrun.runtime import files
from vitrun.runtime.memory import Memory

PLAIN, FUSED = Layout(4, 1, False), Layout(8, 1, True)


@pytest.mark.parametrize("images, workers", [(128, 2), (100, 8), (96, 6), (7, 4), (1, 1)])
def test_neighbours_leave_work_for_every_worker_and_reach_every_size(images, workers):
    reached, todo = set(), [Layout(max(1, images // workers // 4), min(workers, images), False)]
    while todo:
        layout = todo.pop()
        if layout not in reached:
            reached.add(layout)
            todo += list_neighbours(layout, images, workers, has_attention=True)
    assert all(1 <= layout.at_once <= images and layout.workers <= workers for layout in reached)
    assert {layout.fused for layout in reached} == {True, False}
    assert max(layout.micro_batch for layout in reached if layout.workers == 1) == images


def fastest_of(seconds, start, images, batch=128, workers=2):
    """Return the fastest layout, and the clock, if an image takes ``seconds(layout)`` in a pass."""
    clock = Clock(lambda layout, number: number * seconds(layout))
    timed = find_fastest(start, lambda one: list_neighbours(one, batch, workers, True), clock, images, batch)
    return timed and min(timed, key=timed.get), clock


@pytest.mark.parametrize(
    "best", [Layout(64, 2, False), Layout(16, 2, True), Layout(128, 1, False), Layout(8, 2, False)]
)
def test_the_fastest_layout_is_found_within_seconds(best):
    def seconds(layout):
        steps = abs(math.log2(layout.micro_batch / best.micro_batch)) + abs(layout.workers - best.workers)
        return 0.004 * 1.1 ** (steps + 3 * (layout.fused != best.fused))

    found, clock = fastest_of(seconds, Layout(16, 2, False), 10**6)
    assert found == best and clock.spent <= MOST_SECONDS


@pytest.mark.parametrize("seconds, images", [(0.004, 40_000), (0.25, 8_000), (0.25, 100_000), (2.0, 100_000)])
def test_no_more_than_two_percent_of_a_run_is_measured_and_nothing_of_a_short_one(seconds, images):
    found, clock = fastest_of(lambda layout: seconds * (2 - layout.fused), Layout(4, 2, True), images)
    assert clock.spent <= 0.02 * images * seconds
    assert clock.spent <= MOST_SECONDS + 8 * seconds and found in (Layout(4, 2, True), None)


def test_a_layout_that_another_process_disturbed_is_timed_again():
    best, disturbed = Layout(64, 2, False), iter([1.2])

    def seconds(layout):
        slowness = next(disturbed, 1.0) if layout == best else 1.0
        return 0.004 * slowness * 1.1 ** abs(math.log2(layout.micro_batch / 64)) * 1.1 ** (2 - layout.workers)

    assert fastest_of(seconds, Layout(16, 2, False), 10**6)[0] == best


def test_a_layout_whose_first_pass_is_slow_is_timed_again():
    best, passed = Layout(64, 2, False), set()

    def seconds(layout):
        first = layout not in passed
        passed.add(layout)
        return 0.004 * (1.4 if first else 1.0) * 1.03 ** (abs(math.log2(layout.micro_batch / 64)) - layout.workers)

    assert fastest_of(seconds, Layout(16, 2, False), 10**6)[0] == best


def test_a_form_of_attention_that_is_slow_in_one_layout_is_not_timed_in_others():
    clock = Clock(lambda layout, number: number * (0.02 if layout.fused else 0.004 + 0.01 / layout.micro_batch))
    start, neighbours = Layout(16, 2, False), lambda one: list_neighbours(one, 128, 2, True)
    timed = find_fastest(start, neighbours, clock, 10**6, 128)
    assert [layout.fused for layout in timed].count(True) == 1 and len(timed) > 4


def test_a_layout_for_which_memory_runs_out_is_not_chosen():
    found, _ = fastest_of(
        lambda layout: math.inf if layout.micro_batch > 32 else 0.1 / layout.micro_batch, PLAIN, 10**6
    )
    assert found.micro_batch <= 32


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Let a run measure, with an outcome that is the value of the returned list; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    outcome = [PLAIN]
    monkeypatch.setattr(step_layout, "find_fastest", lambda start, *_: {start: 2.0, outcome[0]: 1.0})
    return outcome


def test_the_same_command_takes_what_was_measured_before_and_ends_with_the_same_bits(run_command, tmp_path, measured):
    run_command("pretrain", *TINY)
    first, logged = hash_weights(tmp_path / "runs"), [*(tmp_path / "runs").glob("*/log.txt")][0].read_text()
    assert "layout: micro-batch 4, 1 worker, plain attention, 1 images/s, the fastest of 2" in logged
    measured[0] = FUSED
    (tmp_path / "runs").rename(tmp_path / "before")
    run_command("pretrain", *TINY)
    assert hash_weights(tmp_path / "runs") == first
    run_command("pretrain", *TINY, "seed=1")
    run_command("pretrain", *(override for override in TINY if override != "batch=32"), "batch=16")
    computing = [files.read_json(file)["computing"] for file in (tmp_path / "runs").glob("*/about.json")]
    assert sorted(facts["micro_batch"] for facts in computing) == [4, 4, 8], "another batch is measured anew"


def test_a_resumed_run_keeps_its_layout_whatever_is_measured_or_cached_now(
    run_command, tmp_path, monkeypatch, measured
):
    run_command("pretrain", *TINY, "save_minutes=0")
    whole = hash_weights(tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path / "before")
    with interrupted_after(5, monkeypatch):
        run_command("pretrain", *TINY, "save_minutes=0")
    measured[0] = FUSED
    (tmp_path / "cache" / "vitrun" / layout_search.CACHE_FILE).unlink()
    run_command("pretrain", *TINY, "save_minutes=0")
    assert hash_weights(tmp_path / "runs") == whole


def test_a_short_run_a_dry_run_and_a_fixed_micro_batch_measure_nothing(run_command, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Clock, "time", lambda *_: pytest.fail("a layout was timed"))
    run_command("pretrain", *TINY)
    monkeypatch.setattr(layout_search, "FIRST_SHARE", 1.0)
    run_command("pretrain", *TINY, "seed=1", dry=True)
    run_command("pretrain", *TINY, "seed=1", "micro_batch=8")
    assert not (tmp_path / "cache" / "vitrun" / layout_search.CACHE_FILE).exists()


def test_measuring_changes_nothing_and_chooses_a_layout_that_fits(run_command, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in {"FIRST_SHARE": 1.0, "SHARE": 10.0, "LEAST_SECONDS": 0.0, "LAYOUT_SECONDS": 0.0}.items():
        monkeypatch.setattr(layout_search, name, value)
    chosen, choose = [], StepLayouts.choose

    def watch(layouts, images, measure):
        memories = layouts.memories
        room = max(memory.estimate(2) for memory in memories.values())
        object.__setattr__(layouts, "free", Memory(int(1.2 * room) + 10**8, "this test"))
        tensors = [*layouts.state.network.state_dict().values()]
        before, random = [tensor.clone() for tensor in tensors], torch.get_rng_state()
        choose(layouts, images, measure)
        assert all(map(torch.equal, tensors, before)) and torch.equal(torch.get_rng_state(), random)
        assert all(parameter.grad is None for parameter in layouts.state.network.parameters())
        layout = step_layout.get_layout(layouts.state, layouts.machine)
        chosen.append((layout, layouts.allows(layout), layouts.allows(replace(layout, micro_batch=32))))

    monkeypatch.setattr(StepLayouts, "choose", watch)
    run_command("pretrain", *TINY)
    ((layout, fits, largest_fits),) = chosen
    assert fits and not largest_fits and (tmp_path / "cache" / "vitrun" / layout_search.CACHE_FILE).exists()
