"""compare: finished runs beside published numbers, with a gap where both have the same setting."""

import json

import pytest

from vitrun import papers
from vitrun.commands import compare
from vitrun.config import resolve
from vitrun.papers import names
from vitrun.runs.metrics import Metric
from vitrun.runtime.console import Screen

PRETRAIN = ("pretrain", "model=vit_l16", "data=imagenet21k", "data.path={here}", "epochs=90", "steps=null")
TABLE3 = {"protocol": "paper_table3"}
PAPER = {"protocol": "paper_table4"}


def finetune(pretrained: str, *overrides: str, res: int = 384) -> tuple[str, ...]:
    return ("finetune", f"init={pretrained}", f"res={res}", *overrides)


def test_a_run_of_a_published_setting_has_its_gap_in_points(make_finished_run, run_compare, tmp_path):
    pretrained = make_finished_run(PRETRAIN, {"top1": Metric(0.4, "share")}, TABLE3)
    for seed, top1 in enumerate((0.92, 0.93, 0.94)):
        make_finished_run(finetune(pretrained, "data=cifar100", f"seed={seed}"), {"top1": Metric(top1, "share")}, PAPER)
    cells, text = run_compare("paper=table2")
    assert cells["CIFAR-100", "ours: L/16, ImageNet-21k"] == "93.00 ± 1.00 (-0.25)"
    assert cells["CIFAR-100", "L/16, ImageNet-21k"] == "93.25 ± 0.05"
    assert "arXiv 2010.11929v2, table 2" in text and "Nothing else is compared" in text
    cells, _ = run_compare("paper=table5")
    assert cells["CIFAR-100", "ours: ImageNet-21k, L/16"] == "93.00 ± 1.00 (-0.44)"
    table = json.loads((tmp_path / "table.json").read_text())
    (ours,) = table["ours"]
    assert len(ours["runs"]) == 3 and ours["published"][0]["gap"] == pytest.approx(-0.44)
    assert len(table["published"]) == len(papers.load_table("table5").numbers) == 84
    assert all(number["source"] for number in table["published"])


def test_a_table_that_is_too_wide_is_split_and_nothing_is_written_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.chdir(tmp_path)
    compare.execute(resolve.resolve_recipe("compare", ["paper=table5"]), Screen())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert max(map(len, lines)) <= 90 and not list(tmp_path.iterdir())
    headings = [cell.strip() for line in lines if line.startswith("| data") for cell in line.strip("| ").split("|")]
    assert headings.count("data") > 1 and len(set(headings)) == len(headings) - headings.count("data") + 1
    compare.execute(resolve.resolve_recipe("compare", ["paper=table5", "save=mine.csv"]), Screen())
    assert sorted(file.name for file in tmp_path.iterdir()) == [".vitrun-outputs.json", "mine.csv"]


def test_a_run_of_another_setting_is_shown_with_the_differences_and_without_a_gap(make_finished_run, run_compare):
    pretrained = make_finished_run(PRETRAIN, {"top1": Metric(0.4, "share")}, TABLE3)
    make_finished_run(
        finetune(pretrained, "data=cifar100", res=224), {"top1": Metric(0.93, "share")}, {"protocol": "quick"}
    )
    cells, text = run_compare("paper=table5")
    assert cells["CIFAR-100", "ours: ImageNet-21k, L/16"] == "93.00"
    assert "res 224, not 384; protocol quick, not paper_table4" in text


def test_another_model_data_set_or_pretraining_is_no_match(make_finished_run, run_compare):
    tiny = make_finished_run((*PRETRAIN, "model.depth=2"), {"top1": Metric(0.4, "share")}, TABLE3)
    make_finished_run(finetune(tiny, "data=cifar100"), {"top1": Metric(0.93, "share")}, PAPER)
    make_finished_run(
        ("finetune", "init=random:vit_l16", "res=384", "data=cifar100"), {"top1": Metric(0.5, "share")}, PAPER
    )
    make_finished_run(
        finetune(make_finished_run(PRETRAIN, {"top1": Metric(0.4, "share")}, TABLE3), "data=digits"),
        {"top1": Metric(0.9, "share")},
        PAPER,
    )
    cells, text = run_compare("paper=table5")
    assert cells["CIFAR-100", "ours: ImageNet-21k, vit_l16"] == "93.00"
    assert cells["CIFAR-100", "ours: scratch, L/16"] == "50.00"
    assert cells["digits", "ours: ImageNet-21k, L/16"] == "90.00"
    assert "In brackets" not in text and "No gap" not in text


def test_runs_with_2d_positions_have_a_gap_only_in_the_table_of_positions(make_finished_run, run_compare):
    overrides = (*(override.replace("vit_l16", "vit_b16") for override in PRETRAIN), "model.positions=2d")
    pretrained = make_finished_run(overrides, {"top1": Metric(0.4, "share")}, TABLE3)
    make_finished_run(finetune(pretrained, "data=cifar100"), {"top1": Metric(0.93, "share")}, PAPER)
    make_finished_run(
        ("fewshot", f"init={pretrained}", "data=imagenet", "res=224"), {"shot5": Metric(0.65, "share", 0.01)}, {}
    )
    cells, text = run_compare("paper=table5")
    assert cells["CIFAR-100", "ours: ImageNet-21k, B/16"] == "93.00" and "positions 2d, not learned" in text
    cells, _ = run_compare("paper=table8")
    assert cells["2d shot5", "ours: stem"] == "65.00 ± 1.00 (+1.00)"


def test_vit_h14_has_its_gap_at_the_resolution_of_its_recipe(make_finished_run, run_compare):
    pretrained = make_finished_run(
        tuple(override.replace("vit_l16", "vit_h14") for override in PRETRAIN), {"top1": Metric(0.4, "share")}, TABLE3
    )
    overrides = (
        "finetune",
        f"init={pretrained}",
        "protocol=paper_table4",
        "data=cifar100",
        "grid=[]",
        "dev=0",
        "seeds=[]",
    )
    make_finished_run(overrides, {"top1": Metric(0.94, "share")}, {})
    cells, _ = run_compare("paper=table5")
    assert cells["CIFAR-100", "ours: ImageNet-21k, H/14"] == "94.00 (+0.18)"


def test_an_ablation_has_no_gap_to_the_full_recipe(make_finished_run, run_compare):
    overrides = ("pretrain", "protocol=better_vit", "model=vit_s16", "data=imagenet")
    make_finished_run(overrides, {"top1": Metric(0.77, "share")}, {})
    cells, _ = run_compare("paper=better_vit")
    assert cells["better_vit, ImageNet", "ours: 90"] == "77.00 (+0.50)"
    notes = {
        "batch=4096": "pretrain_batch 4096, not 1024",
        "augment=none": "pretrain_mixup 0, not 0.2",
        "model.head=token": "head token, not gap",
        "model.positions=learned": "positions learned, not sincos2d",
        "model.pre_logits=false": "pre_logits false, not true",
    }
    for number, override in enumerate(notes):
        make_finished_run((*overrides, override, f"seed={number + 1}"), {"top1": Metric(0.75, "share")}, {})
    _, text = run_compare("paper=better_vit", "columns=pretrain_epochs,seed")
    assert all(sentence in text for sentence in notes.values())


def test_a_run_is_shown_once_and_trials_of_a_grid_are_not_shown(make_finished_run, run_compare):
    pretrained = make_finished_run(PRETRAIN, {"top1": Metric(0.4, "share")}, TABLE3)
    for number, more in enumerate(({}, {"score": "dev"}, {"grid": [0.01, 0.03]}, {"seeds": [0, 1, 2]})):
        make_finished_run(
            finetune(pretrained, "data=cifar100", f"seed={number}"),
            {"top1": Metric(0.9 + number / 100, "share")},
            PAPER | more,
        )
    cells, _ = run_compare("paper=table5")
    assert cells["CIFAR-100", "ours: ImageNet-21k, L/16"].startswith("90.00 (")


def test_an_eval_is_compared_only_on_labels_that_the_model_was_not_tuned_on(make_finished_run, run_compare):
    pretrained = make_finished_run(PRETRAIN, {"top1": Metric(0.4, "share")}, TABLE3)
    tuned = make_finished_run(finetune(pretrained, "data=imagenet"), {"top1": Metric(0.85, "share")}, PAPER)
    make_finished_run(("eval", f"init={tuned}", "data=imagenet"), {"top1": Metric(0.85, "share")}, {})
    make_finished_run(
        ("eval", f"init={tuned}", "data=imagenet_real", "data.path={here}"), {"top1": Metric(0.89, "share")}, {}
    )
    cells, _ = run_compare("paper=table5")
    assert cells["ImageNet ReaL", "ours: ImageNet-21k, L/16"] == "89.00 (+0.60)"
    assert cells["ImageNet", "ours: ImageNet-21k, L/16"] == "85.00 (-0.15)"


@pytest.fixture
def suite(make_finished_run):
    """Return a function that writes runs of VTAB tasks: table 9 plus one point, plus 0.2 points times the seed."""
    pretrained = make_finished_run(PRETRAIN, {"top1": Metric(0.4, "share")}, TABLE3)
    table = papers.load_table("table9").numbers
    value = {n.fields["data"]: n.value for n in table if n.fields["upstream"] == "ImageNet-21k"}

    def suite(tasks: list[str], seeds: tuple[int, ...] = (0, 1)) -> None:
        for task in tasks:
            for seed in seeds:
                overrides = finetune(pretrained, f"data={task}", "data.root={here}", f"seed={seed}")
                top1 = (value[names.VTAB_TASKS[task]] + 1 + 0.2 * seed) / 100
                make_finished_run(overrides, {"top1": Metric(top1, "share")}, {"protocol": "paper_vtab"})

    return suite


def test_vtab_has_its_tasks_its_groups_and_its_mean_beside_table_9(suite, run_compare):
    suite(list(names.VTAB_TASKS))
    cells, _ = run_compare("paper=table9")
    ours, paper = "ours: L/16, ImageNet-21k", "L/16, ImageNet-21k"
    assert cells["VTAB Caltech101", ours] == "91.90 ± 0.14 (+1.10)"
    assert (cells["VTAB natural", paper], cells["VTAB structured", paper]) == ("83.27", "57.50")
    assert cells["VTAB natural", ours] == "84.37 ± 0.14 (+1.10)"
    assert cells["VTAB (19)", ours] == "73.81 ± 0.14 (+1.11)", "the paper prints 72.7 for 72.71"
    cells, _ = run_compare("paper=table2")
    assert cells["VTAB (19)", ours] == "73.81 ± 0.14 (+1.09)"


def test_a_suite_with_a_missing_task_shows_its_count_and_has_no_gap(suite, run_compare):
    suite([task for task in names.VTAB_TASKS if task != "vtab/svhn"], seeds=(0,))
    cells, _ = run_compare("paper=table9")
    rows = {row for row, column in cells if column.startswith("ours")}
    assert "VTAB (18/19)" in rows and not rows & {"VTAB (19)", "VTAB natural", "VTAB SVHN"}
    assert "(" not in cells["VTAB (18/19)", "ours: L/16, ImageNet-21k"]
    assert cells["VTAB structured", "ours: L/16, ImageNet-21k"] == "58.50 (+1.00)"


def test_public_weights_are_compared_by_their_tag(make_finished_run, run_compare):
    make_finished_run(
        ("eval", "init=timm:vit_base_patch16_224.orig_in21k_ft_in1k", "data=imagenet"),
        {"top1": Metric(0.818, "share")},
        {},
    )
    cells, _ = run_compare("paper=timm")
    assert cells["timm:vit_base_patch16_224.orig_in21k_ft_in1k", "ours: ImageNet, 224"] == "81.80 (+0.02)"


def test_an_eval_has_a_gap_only_with_the_view_of_the_published_number(make_finished_run, run_compare):
    tag = "timm:swin_tiny_patch4_window7_224.ms_in1k"
    for overrides, source in ((), "weights"), (("view.crop=0.875",), "overrides"):
        result = {"top1": Metric(0.813, "share"), "view": {"source": source}}
        make_finished_run(("eval", f"init={tag}", "data=imagenet", *overrides), result, {})
    cells, text = run_compare("paper=timm")
    texts = [text for (row, column), text in cells.items() if row == tag and column.startswith("ours")]
    assert sorted(texts) == ["81.30", "81.30 (-0.09)"] and "view_of overrides, not weights" in text
    cells, text = run_compare("paper=baselines")
    texts = [text for (row, column), text in cells.items() if row == "Swin-T, 224" and column.startswith("ours")]
    assert sorted(texts) == ["81.30", "81.30 (+0.10, +0.00)"] and "view shortest 0.9 bicubic" in text


def test_dropout_distinguishes_two_published_numbers(make_finished_run, run_compare):
    overrides = ("finetune", "init=timm:vit_base_patch16_224.orig_in21k", "res=384", "data=cifar10", "steps=10000")
    make_finished_run((*overrides, "epochs=null"), {"top1": Metric(0.99, "share")}, {"protocol": "public_code"})
    make_finished_run(
        (*overrides, "epochs=null", "dropout=0.1"), {"top1": Metric(0.99, "share")}, {"protocol": "public_code"}
    )
    cells, _ = run_compare("paper=replications")
    row = "B/16, CIFAR-10, 384, 10000"
    assert cells[row, "ours: 0.0"] == "99.00 (-0.02)" and cells[row, "ours: 0.1"] == "99.00 (+0.24)"


@pytest.mark.parametrize("name", papers.find_table_files())
def test_every_table_is_printed_without_runs(name, run_compare, tmp_path):
    cells, text = run_compare(f"paper={name}")
    assert len(cells) > 2 and "no finished" in text
    assert all(number.source in text for number in papers.load_table(name).numbers)
