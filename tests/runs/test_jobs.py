"""Many runs one after another: a failed one is named and stops no other, unless its error is not tolerated."""

import pytest

from vitrun.errors import ExitCode, UserError
from vitrun.runs import jobs, metrics
from vitrun.runs.metrics import Metric


def execute(status: ExitCode | None) -> int:
    """Fail with this exit code, or return 1."""
    if status is not None:
        raise UserError("a reason.", status)
    return 1


def test_a_failed_job_is_named_with_its_error_and_the_others_are_executed():
    lines, warnings = [], []
    statuses = {"a": None, "b": ExitCode.DATA, "c": ExitCode.NUMERICS, "d": None}
    results, errors = jobs.run_jobs(statuses, execute, lines.append, warnings.append)
    assert results == {"a": 1, "d": 1} and errors.keys() == {"b", "c"}
    assert lines == ["[1/4] a", "[2/4] b", "[3/4] c", "[4/4] d"] and warnings[0] == "b failed: a reason."
    with pytest.raises(UserError, match="2 of 4 jobs failed: b; c") as error:
        jobs.check_all_succeeded(errors, len(statuses))
    assert error.value.status == ExitCode.NUMERICS


def test_an_error_that_is_not_tolerated_stops_all():
    statuses = {"a": ExitCode.NUMERICS, "b": ExitCode.DATA, "c": None}
    lines = []
    with pytest.raises(UserError) as error:
        jobs.run_jobs(statuses, execute, lines.append, lines.append, tolerated=[ExitCode.NUMERICS])
    assert error.value.status == ExitCode.DATA and not any("c" in line.split() for line in lines)


def test_a_job_that_the_kernel_killed_is_named_as_such(tmp_path):
    with pytest.raises(UserError, match="exit status 137 .killed, as the kernel does where memory runs out.") as error:
        jobs.check_status(137, tmp_path)
    assert error.value.status == 137


def test_an_estimate_counts_every_run_of_each_kind():
    costs = {
        "trial": {"steps": 5, "hours": 1.0, "memory_gb": 2.0},
        "final": {"steps": 9, "hours": 4.0, "memory_gb": 1.0},
    }
    estimate = jobs.estimate([("trial", 3), ("final", 2)], costs.get)
    assert estimate == {"runs": 5, "steps": 9, "hours": 11.0, "memory_gb": 2.0}
    assert jobs.estimate([("search", 19)], {"search": estimate}.get)["runs"] == 95


def test_results_are_tabulated_with_shares_in_percent():
    results = {
        "digits": metrics.to_plain({"shot1": Metric(0.5, "share", 0.01), "images_used": 40}),
        "shapes": metrics.to_plain({"shot5": Metric(0.25, "share"), "loss": Metric(1.0)}),
    }
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in jobs.tabulate_results(results, "data").split("\n")
    ]
    assert rows[0] == ["data", "shot1", "shot5"]
    assert rows[2:] == [["digits", "50.0 +- 1.0", ""], ["shapes", "", "25.0"]]
