"""Figures 3 to 5: the numbers that the paper prints, nothing else, and runs beside them."""

from functools import partial

import pytest

from helpers.runs import write_finished_run
from vitrun.plots.points import Point
from vitrun.runs.metrics import Metric
from vitrun.runs.paper_figures import AVERAGE, collect_figure
from vitrun.runs.results import load_finished_runs

AVERAGES = {  # of table 6 by exaFLOPs, computed by hand
    55: 92.50, 224: 94.08, 196: 94.27, 783: 95.12, 1567: 95.44, 4262: 95.82, 50: 89.33, 199: 92.01, 96: 91.67,
    141: 92.41, 563: 94.01, 1126: 94.24, 3306: 95.09, 106: 94.27, 274: 94.68, 246: 94.85, 859: 95.17, 1668: 95.36,
}  # fmt: skip


def test_figure_3_has_the_imagenet_row_of_table_5():
    (panel,) = collect_figure("figure3", []).panels
    curves = {curve.label: dict(zip(curve.x, curve.y)) for curve in panel.items}
    assert curves["B/16"] == {1.3e6: 77.91, 14e6: 83.97, 303e6: 84.15}
    assert curves["H/14"] == {14e6: 85.13, 303e6: 88.04} and len(curves) == 5
    assert all(curve.source == "table 5" for curve in panel.items)


def test_figure_4_has_no_number_that_is_not_printed():
    figure = collect_figure("figure4", [])
    assert [list(panel.items) for panel in figure.panels] == [[]] and "None of its points" in figure.missing


def test_figure_5_has_the_18_models_of_table_6_and_their_means():
    averages, imagenet = collect_figure("figure5", []).panels
    assert {point.x: round(point.y, 2) for point in averages.items} == AVERAGES
    assert {(point.label, point.y) for point in imagenet.items} >= {("H/14", 88.08), ("L/16 (7 ep)", 86.30)}
    families = [point.family for point in imagenet.items]
    assert [families.count(name) for name in ("ViT", "ResNet (BiT)", "hybrid")] == [6, 7, 5]


def test_runs_are_drawn_by_the_compute_and_images_of_their_pretraining(tmp_path):
    write_run = partial(write_finished_run, tmp_path / "runs", more={})
    top1 = {"top1": Metric(0.5, "share"), "steps": 10}
    pretrained = write_run(("pretrain", "steps=10"), top1)
    for data in ("imagenet", "cifar10", "cifar100", "pets", "flowers102"):
        tuned = write_run(("finetune", f"init={pretrained}", f"data={data}", "steps=900", "epochs=null"), top1)
    write_run(("fewshot", f"init={tuned}", "data=digits"), {"shot5": Metric(0.4, "share")})
    runs, _ = load_finished_runs(tmp_path / "runs")
    compute = next(run.cost.exaflop for run in runs if run.name == pretrained)
    panels = collect_figure("figure5", runs).panels
    assert len(panels) == 1 + len(AVERAGE)
    for panel in panels:
        assert [item for item in panel.items if not item.source] == [Point("vit_nano8, shapes", compute, 50.0, "ViT")]
    few_shot = collect_figure("figure4", runs).panels[-1]
    assert [(curve.x, curve.y) for curve in few_shot.items] == [([20_000], [pytest.approx(40.0)])]
    sizes = {x for panel in collect_figure("figure3", runs).panels for curve in panel.items for x in curve.x}
    assert sizes == {1.3e6, 14e6, 303e6, 20_000}
