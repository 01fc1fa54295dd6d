"""compare: which runs are averaged, and how values are shown."""

import json

import pytest
import yaml

from vitrun.commands import compare
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs.metrics import Metric
from vitrun.runtime.console import Screen


def test_runs_on_other_images_are_never_averaged(make_finished_run, run_compare):
    for seed, images in enumerate(("b1c3", "b1c3", "ffff")):
        make_finished_run(("pretrain", f"seed={seed}"), {"top1": Metric(0.5 + seed / 10, "share")}, {}, images)
    cells, _ = run_compare("commands=pretrain", "rows=data", "columns=model", "paper=none")
    assert {cells["shapes", f"vit_nano8, train_data={images}"] for images in ("b1c3", "ffff")} == {
        "55.00 ± 7.07",
        "70.00",
    }


def test_a_value_that_no_run_has_is_refused_and_a_loss_is_not_a_percentage(make_finished_run, run_compare):
    make_finished_run(("pretrain",), {"top1": Metric(0.5, "share"), "loss": Metric(1.25)}, {})
    with pytest.raises(UserError, match="no 'top7'. Did you mean top1"):
        run_compare("commands=pretrain", "values=top7", "rows=data")
    with pytest.raises(UserError, match="No run has top7 .* Did you mean top1"):
        run_compare("values=top7")
    cells, _ = run_compare("commands=pretrain", "rows=data", "columns=model", "values=top1,loss", "paper=none")
    assert (cells["shapes", "vit_nano8"], cells["shapes loss", "vit_nano8"]) == ("50.00", "1.25")


def test_values_that_are_not_shares_are_shown_unscaled_and_texts_are_refused(make_finished_run, run_compare):
    result = {
        "last": Metric(0.5, "share"),
        "best_layer": "layer2",
        "images_used": 500,
        "seconds": Metric(0.75, "seconds"),
    }
    make_finished_run(("fewshot", "init=random:vit_nano8"), result, {})
    overrides = ("commands=fewshot", "rows=data", "columns=model", "paper=none")
    assert run_compare(*overrides)[0]["digits last", "vit_nano8"] == "50.00", "a linear probe is shown without values="
    cells, _ = run_compare(*overrides, "values=images_used,seconds")
    assert (cells["digits images_used", "vit_nano8"], cells["digits seconds", "vit_nano8"]) == ("500", "0.75")
    with pytest.raises(UserError, match="no 'best_layer'"):
        run_compare(*overrides, "values=best_layer")


def test_fewshot_runs_with_other_shots_share_a_column(make_finished_run, run_compare):
    make_finished_run(("fewshot", "init=random:vit_nano8", "shots=5"), {"shot5": Metric(0.5, "share")}, {})
    make_finished_run(
        ("fewshot", "init=random:vit_nano8", "shots=1,5"),
        {"shot1": Metric(0.2, "share"), "shot5": Metric(0.5, "share")},
        {},
    )
    cells, _ = run_compare("commands=fewshot", "rows=data", "columns=model", "paper=none")
    assert (cells["digits shot1", "vit_nano8"], cells["digits shot5", "vit_nano8"]) == ("20.00", "50.00")


def test_runs_in_two_precisions_are_never_averaged(make_finished_run, run_compare, tmp_path):
    for seed, precision in enumerate(("bf16", "fp32")):
        name = make_finished_run(("pretrain", f"seed={seed}"), {"top1": Metric(0.5 + seed / 10, "share")}, {})
        about = {"computing": {"precision": precision}}
        (tmp_path / "runs" / name / "about.json").write_text(json.dumps(about))
    cells, _ = run_compare("commands=pretrain", "rows=data", "columns=model", "paper=none")
    assert cells["shapes", "vit_nano8, precision=bf16"] == "50.00"


def test_a_run_with_res_null_is_compared_as_224_pixels(make_finished_run, run_compare):
    make_finished_run(("pretrain", "res=null", "model.patch=56"), {"top1": Metric(0.5, "share")}, {})
    cells, _ = run_compare("commands=pretrain", "rows=data", "columns=res", "paper=none")
    assert cells["shapes", "224"] == "50.00"


@pytest.mark.parametrize("file, content", [("recipe.yaml", "seed: 1"), ("result.json", "{}"), ("recipe.yaml", "")])
def test_a_run_of_another_program_is_named_and_the_others_are_compared(
    make_finished_run, run_compare, tmp_path, capsys, file, content
):
    make_finished_run(("pretrain",), {"top1": Metric(0.5, "share")}, {})
    other = make_finished_run(("pretrain", "seed=1"), {"top1": Metric(0.7, "share")}, {})
    (tmp_path / "runs" / other / file).write_text(content)
    overrides = ["commands=pretrain", f"runs={tmp_path / 'runs'}", f"save={tmp_path / 'table'}"]
    compare.execute(resolve.resolve_recipe("compare", overrides), Screen())
    shown = capsys.readouterr()
    assert f"left out: {other}" in shown.err and "50.00" in shown.out and "70.00" not in shown.out


def test_a_recipe_that_lacks_an_option_is_left_out_by_name(make_finished_run, run_compare, tmp_path, capsys):
    make_finished_run(("pretrain",), {"top1": Metric(0.5, "share")}, {})
    other = make_finished_run(("pretrain", "seed=1"), {"top1": Metric(0.7, "share")}, {})
    file = tmp_path / "runs" / other / "recipe.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in yaml.safe_load(file.read_text()).items() if k != "augment"}))
    overrides = ["commands=pretrain", f"runs={tmp_path / 'runs'}", f"save={tmp_path / 'table'}"]
    compare.execute(resolve.resolve_recipe("compare", overrides), Screen())
    assert f"left out: {other}: its recipe.yaml is of another vitrun" in capsys.readouterr().err


def test_rows_and_columns_can_be_chosen(make_finished_run, run_compare):
    cells, _ = run_compare("paper=table5", "rows=model", "columns=upstream,data")
    assert cells["L/16", "ImageNet-21k, CIFAR-10"] == "99.16"
    with pytest.raises(UserError, match="Did you mean upstream"):
        run_compare("paper=table5", "rows=upsteam")


def test_no_two_columns_have_one_heading(make_finished_run, run_compare):
    for detector, lr in (("yolos_nano", 1e-3), ("yolos_ti", 1e-4)):
        options = ("data=boxes", "init=random:vit_nano8", f"detect.model={detector}", f"optim.lr={lr}")
        make_finished_run(("finetune", *options), {"AP": Metric(0.5, "share")}, {})
    _, text = run_compare("paper=none", "commands=finetune")
    (header,) = (line for line in text.splitlines() if "AP" in line and "run" in line and "|" in line)
    headings = [cell.strip() for cell in header.strip("| ").split("|")]
    assert {"detect.model", "lr"} <= {*headings} and len(headings) == len({*headings})


def test_no_table_and_no_run_is_an_error(make_finished_run, run_compare):
    with pytest.raises(UserError, match="No finished") as caught:
        run_compare("paper=none")
    assert caught.value.status == ExitCode.DATA
    with pytest.raises(UserError, match="paper=tabel5: must be .*'table5'"):
        resolve.resolve_recipe("compare", ["paper=tabel5"])


def test_files_that_cannot_be_written_are_refused(run_compare):
    with pytest.raises(UserError, match="cannot write there") as caught:
        run_compare("paper=table8", save="nowhere/table")
    assert caught.value.status == ExitCode.SPACE


def test_our_own_runs_alone_include_evaluations(make_finished_run, run_compare):
    tag = "timm:vit_base_patch16_224.orig_in21k_ft_in1k"
    make_finished_run(("eval", f"init={tag}", "data=imagenet"), {"top1": Metric(0.8, "share")}, {})
    cells, text = run_compare("paper=none")
    assert "0.8" in cells.values() and "80.00" in text


@pytest.mark.parametrize("name", ["figure3", "figure4", "figure5"])
def test_each_figure_is_written_in_every_format_without_a_run(run_compare, tmp_path, name):
    overrides = [f"runs={tmp_path / 'runs'}", f"paper={name}", f"save={tmp_path / name}"]
    content = compare.execute(resolve.resolve_recipe("compare", overrides), Screen(quiet=True))
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")
    rows = (tmp_path / f"{name}.csv").read_text().splitlines()
    assert len(rows) == 1 + len(content["published"]) and not content["ours"]
    assert json.loads((tmp_path / f"{name}.json").read_text()) == content
    with pytest.raises(UserError, match="is not written as .pdf") as caught:
        compare.execute(resolve.resolve_recipe("compare", [*overrides[:2], "save=mine.pdf"]), Screen(quiet=True))
    assert caught.value.option == "save"


@pytest.mark.parametrize("width", [80, 100, 160])
def test_tables_fit_the_width_and_what_has_no_room_is_named(make_finished_run, tmp_path, monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    changes = ("optim.lr=0.07", "batch=7", "warmup=3", "augment.mixup=0.3", "clip=9.5", "smoothing=0.1", "ema=0.9")
    for number in range(len(changes)):
        overrides = ("finetune", "init=random:vit_nano8", "res=32", *changes[:number])
        make_finished_run(overrides, {"top1": Metric(0.5 + number / 10, "share"), "steps": 100}, {})
    compare.execute(resolve.resolve_recipe("compare", [f"runs={tmp_path / 'runs'}"]), Screen())
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert max(map(len, table)) <= width and len(table) == 2 + len(changes)
    assert ("No room for" in "\n".join(lines)) == (width == 80)


def test_names_with_odd_characters_and_top_are_shown_in_one_line_each(make_finished_run, tmp_path, capsys):
    for number, name in enumerate(("a|b", "two\nlines", "\x1b[2J", "x" * 200, "pretrain-ok-0123abcd")):
        made = make_finished_run(("pretrain", f"optim.lr=0.{number + 1}"), {"top1": Metric(0.5, "share")}, {})
        (tmp_path / "runs" / made).rename(tmp_path / "runs" / name)
    overrides = [f"runs={tmp_path / 'runs'}", "top=4"]
    compare.execute(resolve.resolve_recipe("compare", overrides), Screen())
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert "best 4 of 5" in out and len(rows) == 2 + 4 and len({line.count(" | ") for line in rows[:1] + rows[2:]}) == 1
    assert "\x1b" not in out
