"""report: a page about runs that has the numbers of their results, only what was selected, and works in a browser."""

import json
import re
import shutil

import pytest
import yaml

from helpers.browser import Browser, needs_browser
from helpers.made_runs import make_runs
from helpers.overrides import TINY
from vitrun.commands import report, runner
from vitrun.commands.report.curves_section import choose_curves
from vitrun.commands.report.gather import gather_runs
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.plots.points import Curve
from vitrun.runs.naming import run_name
from vitrun.runtime.console import Screen

HOSTILE = "finetune-<img src=x onerror=alert(1)>-digits-00000000"
RUNS = 36  # more than have their recipes on the page
BOXES = (
    "[...document.querySelectorAll('figure.chart svg')].map(one => one.getBBox()).map(box => [box.width, box.height])"
)
SHOWN = (
    "[...document.querySelectorAll('table[data-index] tbody tr:not([hidden])')].map(row => row.cells[0].textContent)"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with made-up runs: one that is not finished and one whose name is markup among them."""
    place = tmp_path_factory.mktemp("report") / "runs"
    names = make_runs(place, RUNS - 1, steps=12)
    (place / names[-1] / "result.json").unlink()
    shutil.copytree(place / names[3], place / HOSTILE)
    return place


@pytest.fixture(scope="module")
def file(runs):
    """Return the page about all runs."""
    file = runs.parent / "page.html"
    result = report.execute(resolve.resolve_recipe("report", [f"runs={runs}", f"save={file}"]), Screen(quiet=True))
    assert result["runs"] == RUNS and result["path"] == str(file)
    assert {"Runs", "Results", "Training curves", "Few-shot accuracy", "Learning rates"} < {*result["sections"]}
    return file


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


def read_rows(page: str) -> dict[str, list[str]]:
    """Return the texts of the cells of the table of runs, by the name of the run."""
    (table,) = re.findall(r"<table[^>]*data-index.*?</table>", page, re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]]
    return {re.sub("<.*?>", "", first): cells for first, *cells in rows}


def test_the_page_shows_every_run_with_its_result_and_state(file, runs):
    rows = read_rows(file.read_text(encoding="utf-8"))
    tested = 0
    for name, cells in rows.items():
        result = runs / name / "result.json"
        if result.is_file() and "top-1" in cells:
            tested += 1
            assert f"{100 * json.loads(result.read_text())['result']['top1']:.2f}" in cells
        assert result.is_file() or "not finished" in cells or "&lt;" in name
    assert len(rows) == RUNS and tested > RUNS / 2


def test_a_name_that_is_markup_is_text(file):
    page = file.read_text(encoding="utf-8")
    assert "<img" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page


def test_of_many_runs_the_recipes_are_left_out_and_the_page_says_so(file):
    page = file.read_text(encoding="utf-8")
    assert "recipe and environment" not in page and "the recipes are left out" in page
    assert f"Of {RUNS} runs" in page


def test_of_many_curves_the_best_and_others_evenly_by_rank_are_drawn():
    curves = [Curve(str(number), range(1000), [float(number)] * 1000) for number in range(200)]
    chosen, note = choose_curves(curves)
    labels = [int(curve.label) for curve in chosen]
    assert labels[:10] == [*range(199, 189, -1)] and len(labels) == len({*labels}) == 40 and min(labels) < 10
    assert "Of 200 curves the 10 that end best" in note and sum(len(curve.x) for curve in chosen) <= 4000
    few, none = choose_curves(curves[:3])
    assert len(few) == 3 and not none


@pytest.mark.parametrize(
    "override, part",
    [
        ("only=fewshot-*", "fewshot-"),
        ("commands=pretrain", "pretrain-"),
        ("where=data=cifar10,model=vit_ti4", "vit_ti4-cifar10"),
    ],
)
def test_runs_are_selected_by_name_command_and_option(runs, override, part):
    selected = gather_runs(resolve.resolve_recipe("report", [f"runs={runs}", override])).runs
    assert selected and all(part in run.name for run in selected)


@pytest.mark.parametrize(
    "override, option, message",
    [
        ("where=data=cifar1O", "where", "There are CIFAR-10, CIFAR-100"),
        ("where=optim.lrr=1", "where", "Did you mean optim.lr"),
        ("where=cifar10", "where", "as in data=cifar10"),
        ("only=gone", "runs", "There is no run that matches gone"),
    ],
)
def test_what_no_run_has_is_answered_with_what_there_is(runs, override, option, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        gather_runs(resolve.resolve_recipe("report", [f"runs={runs}", override]))
    assert error.value.option == option


DAMAGES = (  # a file, a key in it, and what is written there
    ("about.json", "computing", "x"),
    ("about.json", "libraries", [1]),
    ("about.json", "commit", {"a": "<b>"}),
    ("recipe.yaml", "protocol", ["quick"]),
    ("recipe.yaml", "optim", {"lr": "fast"}),
    ("recipe.yaml", "init", "gone"),
    ("result.json", "finished", 1e300),
    ("result.json", "result", {"top1": 10**400}),
    ("result.json", "result", {"trials": [{"lr": 1, "weight_decay": "x", "top1": []}, 3], "images_per_second": "x"}),
)


def test_files_that_were_written_by_hand_do_not_end_a_report(runs, tmp_path):
    names = [folder.name for folder in sorted(runs.glob("finetune-vit*"))][: len(DAMAGES)]
    for name, (file, key, value) in zip(names, DAMAGES):
        shutil.copytree(runs / name, tmp_path / name)
        content = yaml.safe_load((tmp_path / name / file).read_text()) | {key: value}
        (tmp_path / name / file).write_text(json.dumps(content))
    shutil.copytree(runs / names[0], tmp_path / "huge")
    lines = ['{"step": 1e400, "norm": 1}', f'{{"step": {10**400}, "norm": 1}}', '{"step": 1, "norm": 1, "loss": 1e400}']
    (tmp_path / "huge/metrics.jsonl").write_text("\n".join(lines))
    material = gather_runs(resolve.resolve_recipe("report", [f"runs={tmp_path}"]))
    page = report.make_page(material, 1).to_html().replace("<wbr>", "")
    assert all(name in page for name in [*names, "huge"])


def test_a_file_that_vitrun_did_not_write_is_not_replaced(runs, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    overrides = [f"runs={runs}", f"save={tmp_path / 'page.html'}", "force=true"]
    with pytest.raises(UserError, match="not what vitrun wrote") as error:
        report.execute(resolve.resolve_recipe("report", overrides), Screen(quiet=True))
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, "save")


def test_a_page_that_is_there_already_is_named_and_another_kind_of_file_is_refused(file, runs, capsys):
    before = file.read_bytes()
    report.execute(resolve.resolve_recipe("report", [f"runs={runs}", f"save={file}"]), Screen())
    assert f"{file} already has this page" in capsys.readouterr().out and file.read_bytes() == before
    with pytest.raises(UserError, match="already exists, with other content. .*force=true"):
        report.execute(
            resolve.resolve_recipe("report", [f"runs={runs}", f"save={file}", "commands=pretrain"]), Screen(quiet=True)
        )
    with pytest.raises(UserError, match="must end in .html or .htm") as error:
        report.execute(resolve.resolve_recipe("report", [f"runs={runs}", "save=page.txt"]), Screen(quiet=True))
    assert (error.value.option, error.value.status) == ("save", ExitCode.COMMAND)


def test_report_true_writes_the_page_of_the_run_and_does_not_change_its_name(tmp_path):
    overrides = [*TINY, f"runs={tmp_path / 'runs'}"]
    recipe = runner.resolve_recipe("pretrain", [*overrides, "report=true"])
    result = runner.execute_recipe("pretrain", [*overrides, "report=true"], recipe, Screen(quiet=True), dry=False)
    folder = recipe.runs / run_name("pretrain", resolve.resolve_recipe("pretrain", overrides))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{100 * result['top1']:.2f}" in page and folder.name in page and "Training loss" in page
    assert "recipe and environment" in page and "train_images=96 (there 20000)" in page


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("width, dark", [(1280, False), (400, True)], ids=["desktop", "phone"])
def test_every_chart_is_drawn_and_nothing_is_loaded(browser, file, width, dark):
    browser.open(file, width, dark=dark)
    boxes = browser.evaluate(BOXES)
    assert len(boxes) > 5 and all(min(box) > 100 for box in boxes)
    assert not browser.problems and not browser.foreign_requests()
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
@needs_browser
def test_runs_are_filtered_and_sorted_by_keyboard_alone(browser, file):
    browser.open(file)
    assert len(browser.evaluate(SHOWN)) == RUNS
    browser.evaluate("document.querySelector('#filter').focus()")
    browser.write("vit_ti4 fewshot")
    shown = browser.evaluate(SHOWN)
    assert shown and all("vit_ti4" in name and "fewshot" in name for name in shown)
    browser.press("Tab", 9), browser.press("Tab", 9)  # over the region of the table to its first heading
    browser.press("Enter", 13, "\r")
    ascending = browser.evaluate(SHOWN)
    browser.press(" ", 32, " ")
    assert browser.evaluate(SHOWN) == ascending[::-1] != ascending and {*ascending} == {*shown}
