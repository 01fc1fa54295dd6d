"""report: a page about runs that has the numbers of their results, and only what was selected."""

import json
import re
import shutil

import pytest

from helpers.made_runs import make_runs
from helpers.overrides import TINY
from vitrun.commands import report, runner
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs.naming import run_name
from vitrun.runtime.console import Screen

HOSTILE = "finetune-<img src=x onerror=alert(1)>-digits-00000000"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with made-up runs: one that is not finished and one whose name is markup among them."""
    place = tmp_path_factory.mktemp("report") / "runs"
    names = make_runs(place, 24, steps=20)
    (place / names[-1] / "result.json").unlink()
    shutil.copytree(place / names[3], place / HOSTILE)
    return place


@pytest.fixture
def write_report(tmp_path, runs):
    """Return a function that writes a report; it returns the result and the page."""

    def write_report(*overrides: str, force: str = "true") -> tuple[dict, str]:
        file = tmp_path / "page.html"
        recipe = resolve.resolve_recipe("report", [f"runs={runs}", f"save={file}", f"force={force}", *overrides])
        return report.execute(recipe, Screen(quiet=True)), file.read_text(encoding="utf-8")

    return write_report


def read_rows(page: str) -> dict[str, list[str]]:
    """Return the texts of the cells of the table of runs, by the name of the run."""
    (table,) = re.findall(r"<table[^>]*data-index.*?</table>", page, re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]]
    return {re.sub("<.*?>", "", first): cells for first, *cells in rows}


def test_the_page_shows_every_run_with_its_result_and_state(write_report, runs):
    result, page = write_report()
    rows = read_rows(page)
    assert result["runs"] == len(rows) == 25
    tested = 0
    for name, cells in rows.items():
        file = runs / name / "result.json"
        if file.is_file() and "top-1" in cells:
            tested += 1
            assert f"{100 * json.loads(file.read_text())['result']['top1']:.2f}" in cells
        assert file.is_file() or "not finished" in cells or "&lt;" in name
    assert tested > 10 and {"Results", "Training curves", "What was run", "Few-shot accuracy"} < {*result["sections"]}


def test_a_name_that_is_markup_is_text(write_report):
    _, page = write_report()
    assert "<img" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page


@pytest.mark.parametrize(
    "override, part",
    [
        ("only=fewshot-*", "fewshot-"),
        ("commands=pretrain", "pretrain-"),
        ("where=data=cifar10,model=vit_ti4", "vit_ti4-cifar10"),
    ],
)
def test_runs_are_selected_by_name_command_and_option(write_report, override, part):
    rows = read_rows(write_report(override)[1])
    assert rows and all(part in name for name in rows)


@pytest.mark.parametrize(
    "override, option, message",
    [
        ("where=data=cifar1O", "where", "There are CIFAR-10, CIFAR-100"),
        ("where=optim.lrr=1", "where", "Did you mean optim.lr"),
        ("where=cifar10", "where", "as in data=cifar10"),
        ("only=gone", "runs", "There is no run that matches gone"),
    ],
)
def test_what_no_run_has_is_answered_with_what_there_is(write_report, override, option, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        write_report(override)
    assert error.value.option == option


def test_a_file_that_is_there_is_replaced_only_with_force(write_report, tmp_path):
    write_report()
    with pytest.raises(UserError, match="force=true") as error:
        write_report(force="false")
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, "save")
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(UserError, match="not what vitrun wrote"):
        write_report()


def test_many_runs_leave_their_recipes_out_and_few_have_them(write_report, runs, monkeypatch):
    assert "recipe and environment" in write_report()[1]
    monkeypatch.setattr("vitrun.commands.report.gather.MAX_RECIPES", 5)
    monkeypatch.setattr("vitrun.commands.report.runs_section.MAX_RECIPES", 5)
    page = write_report()[1]
    assert "recipe and environment" not in page and "the recipes are left out" in page


def test_report_true_writes_the_page_of_the_run_and_does_not_change_its_name(tmp_path):
    overrides = [*TINY, f"runs={tmp_path / 'runs'}"]
    recipe = runner.resolve_recipe("pretrain", [*overrides, "report=true"])
    result = runner.execute_recipe("pretrain", [*overrides, "report=true"], recipe, Screen(quiet=True), dry=False)
    folder = recipe.runs / run_name("pretrain", resolve.resolve_recipe("pretrain", overrides))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{100 * result['top1']:.2f}" in page and folder.name in page and "Training loss" in page
