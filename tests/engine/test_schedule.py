"""Learning-rate schedules follow their formulas."""

import numpy as np
import pytest

from vitrun.config import resolve
from vitrun.engine.schedule import Schedule
from vitrun.errors import UserError

RSQRT = {  # of big_vision's utils.py: learning rate by step
    0: 0.0, 5000: 4e-4, 9999: 7.9992e-4, 10_000: 8e-4, 20_000: 5.65685425e-4, 500_000: 1.13137085e-4,
    949_999: 8.20783114e-5, 950_000: 8.20782682e-5, 975_000: 4.05095747e-5, 999_999: 1.6000008e-9, 1_000_000: 0.0,
}  # fmt: skip
SCALING = {"steps": 1_000_000, "warmup": 10_000, "timescale": 10_000, "cooldown": 50_000}


def test_a_linear_schedule_warms_up_from_zero_and_ends_at_the_final_rate():
    lr = Schedule("linear", 1e-3, steps=110, warmup=10, end=1e-5)
    assert [lr(0), lr(5), lr(10)] == pytest.approx([0, 5e-4, 1e-3])
    assert lr(60) == pytest.approx((1e-3 + 1e-5) / 2) and lr(110) == pytest.approx(1e-5)


def test_warm_up_rises_from_zero_and_the_decay_ends_at_zero():
    for kind in ("cosine", "linear"):
        lr = Schedule(kind, 0.1, steps=110, warmup=10)
        assert [lr(0), lr(5), lr(10)] == pytest.approx([0, 0.05, 0.1])
        assert lr(60) == pytest.approx(0.05) and 0 < lr(109) < 0.0011 and lr(110) == pytest.approx(0, abs=1e-12)
    assert Schedule("constant", 0.1, 10, 0)(9) == 0.1


def test_a_staircase_schedule_drops_as_in_bit_hyperrule():
    lr = Schedule("staircase", 0.003, steps=500, warmup=100, drops=(200, 300, 400))
    rates = [lr(step) for step in (0, 50, 100, 200, 201, 300, 301, 400, 401, 499)]
    assert rates == pytest.approx([0, 0.0015, 3e-3, 3e-3, 3e-4, 3e-4, 3e-5, 3e-5, 3e-6, 3e-6])


def test_a_staircase_at_regular_intervals_is_that_of_tensorflow():
    schedule = Schedule("staircase", 0.128, 1000, 50, drop_factor=0.97, drop_every=0.75 / 100 * 1000)
    steps = [50, 52, 53, 60, 75, 500, 999]  # counted from step 0, not from the end of the warm-up
    assert [schedule(step) for step in steps] == pytest.approx([0.128 * 0.97 ** (step // 7.5) for step in steps])
    assert schedule(25) == 0.064


def test_the_rate_of_a_staircase_of_any_number_of_drops_is_a_number():
    schedule = Schedule("staircase", 0.1, 10**6, 0, drop_factor=0.01, drop_every=2)
    assert 0 <= schedule(10**6 - 1) < 1e-290 and Schedule("staircase", 3e-3, 9, 0, drops=[1, 2])(5) == 3e-3 / 100


def test_rsqrt_with_warm_up_and_cool_down_is_that_of_big_vision():
    schedule = Schedule("rsqrt", 8e-4, **SCALING)
    assert [schedule(step) for step in RSQRT] == pytest.approx(list(RSQRT.values()), rel=1e-8)
    constant = Schedule("constant", 0.1, steps=100, warmup=0, cooldown=20)
    assert [constant(step) for step in (0, 80, 90, 99)] == pytest.approx([0.1, 0.1, 0.05, 0.005])


@pytest.mark.shared
def test_rsqrt_equals_the_reference_at_every_step(shared):
    golden = np.load(shared / "golden" / "family" / "rsqrt.npz")
    keys = {"steps": "total", "warmup": "warmup", "timescale": "timescale", "cooldown": "cooldown"}
    schedule = Schedule("rsqrt", float(golden["lr"]), **{key: int(golden[name]) for key, name in keys.items()})
    rates = [schedule(int(step)) for step in golden["steps"]]
    np.testing.assert_allclose(rates, golden["rates"], rtol=1e-12)


@pytest.mark.parametrize(
    "options, option",
    [
        (["schedule=cosine", "cooldown=5"], "cooldown"),
        (["schedule=rsqrt", "steps=100", "warmup=50", "cooldown=51"], "cooldown"),
        (["schedule=rsqrt", "schedule_end=1e-5"], "schedule"),
    ],
)
def test_a_cool_down_without_a_place_in_the_schedule_is_refused(options, option):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("pretrain", options)
    assert error.value.option == option
