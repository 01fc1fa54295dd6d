"""Results are written and read back without loss, flat for scripts and in full for code."""

import json

import pytest

from vitrun.errors import ExitCode, UserError
from vitrun.runs import metrics
from vitrun.runs.metrics import Metric
from vitrun.runtime.text_format import format_result

RESULT = {"shot5": Metric(0.5, "share", 0.1, 0.25), "loss": Metric(1.25), "images": 40, "best_layer": "layer2"}


def test_a_result_survives_json_and_has_each_mean_under_its_name():
    plain = json.loads(json.dumps(metrics.to_plain(RESULT)))
    assert (plain["shot5"], plain["loss"], plain["images"]) == (0.5, 1.25, 40)
    assert metrics.from_plain(plain) == RESULT
    assert metrics.read_metrics(plain) == {"shot5": RESULT["shot5"], "loss": RESULT["loss"], "images": Metric(40)}


def test_a_result_prints_deviations_beside_means_and_one_line_per_item_of_a_list():
    lines = format_result(metrics.to_plain(RESULT | {"trials": [{"lr": 0.1, "top1": 0.5}, {"lr": 1.0, "top1": None}]}))
    assert lines[0].split() == ["shot5", "0.5", "±", "0.1"]
    assert [line.split(maxsplit=1)[1] for line in lines[-2:]] == ["lr 0.1, top1 0.5", "lr 1, top1 None"]


def test_a_very_long_value_of_a_result_is_cut_where_it_is_printed():
    (line,) = format_result({"top1": "x" * 9000})
    assert line.startswith("  top1  xxx") and len(line) < 200


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_result_with_a_number_that_is_not_finite_is_none(number):
    result = RESULT | {"trials": [{"lr": 0.1, "top1": 0.5}, {"lr": 1.0, "top1": number}]}
    with pytest.raises(UserError, match=r"^trials\.1\.top1 of a-run is not finite") as error:
        metrics.check_finite("a-run", metrics.to_plain(result))
    assert error.value.status == ExitCode.NUMERICS
    metrics.check_finite("a-run", metrics.to_plain(RESULT))


def test_a_value_of_any_length_is_a_short_line():
    (line,) = format_result({"top1": {f"part {number}": {"mean": number} for number in range(100)}})
    assert line.startswith("  top1  part 0") and len(line) < 320
