"""Section of a report about the predictions of one run: by class, confusions, calibration, the surest mistakes."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from vitrun.commands.report.gather import Material, ReportedRun
from vitrun.errors import UserError
from vitrun.plots.classes import draw_class_accuracy, draw_confusion, draw_reliability
from vitrun.plots.page import Block, Column, Facts, Gallery, Note, Picture, Row, Section, Table, chart_figure
from vitrun.runs.classification import (
    Mistake,
    calibrate_table,
    count_by_class,
    count_confusions,
    list_confusions,
    list_surest_mistakes,
)
from vitrun.runs.predictions import PREDICTIONS_FILE, PredictionTable, load_predictions

MAX_MISTAKES = 24  # pictures of one run
MAX_CONFUSIONS = 20  # rows of the table of confusions
PNG_START = b"\x89PNG"


def list_predictions(material: Material, detailed: int) -> list[Section]:
    """Return a section for the best run on each of ``detailed`` data sets, with a note on other runs."""
    if not detailed:
        return []
    chosen, others = choose_runs(material, detailed, PREDICTIONS_FILE, read_accuracy)
    sections = [describe_predictions(run) for run in chosen]
    if others and sections:
        sections[-1].add(
            Note(
                f"{len(others)} more runs have predictions: shown is the best of each data set, of at most {detailed} "
                "data sets. only=RUN shows another, detailed=NUMBER more data sets."
            )
        )
    if lacks := explain_lacks(material, chosen):
        sections = sections or [Section("Predictions")]
        sections[-1].add(*lacks)
    return sections


def explain_lacks(material: Material, chosen: Sequence[ReportedRun]) -> list[Note]:
    """Return a note for each data set whose best run has no predictions, which are then of another run or of none."""
    best: dict[str, ReportedRun] = {}
    for run in sorted(material.runs, key=read_accuracy, reverse=True):
        if read_accuracy(run) >= 0:
            best.setdefault(str(run.facts["data"]), run)
    shown = {str(run.facts["data"]): run.name for run in chosen}
    notes = []
    for name, run in best.items():
        if (run.folder / PREDICTIONS_FILE).is_file():
            continue
        instead = (
            f"; shown is {shown[name]}" if name in shown else ", so classes, confusions and mistakes are not shown"
        )
        way = "It was made before predictions were saved, or its file was deleted"
        if run.command in ("pretrain", "finetune"):
            way = f"vitrun eval init={run.name} writes them"
        notes.append(Note(f"{name}: the best run, {run.name}, has no {PREDICTIONS_FILE}{instead}. {way}."))
    return notes


def choose_runs(
    material: Material, detailed: int, file: str, score: Callable[[ReportedRun], float]
) -> tuple[list[ReportedRun], list[ReportedRun]]:
    """Return the run of each data set that has a file and the highest score, and the other runs that have the file."""
    runs = [run for run in material.runs if run.counted and (run.folder / file).is_file()]
    best: dict[str, ReportedRun] = {}
    for run in sorted(runs, key=score, reverse=True):
        best.setdefault(str(run.facts["data"]), run)
    chosen = [*best.values()][:detailed]
    return chosen, [run for run in runs if run not in chosen]


def read_accuracy(run: ReportedRun) -> float:
    """Return the top-1 accuracy of a run, of few-shot that with the most images of a class; -1 if it has none."""
    metrics = run.counted.metrics if run.counted else {}
    shots = sorted((name for name in metrics if re.fullmatch(r"shot\d+", name)), key=lambda name: int(name[4:]))
    known = [metrics[name].mean for name in ("top1", *reversed(shots)) if name in metrics]
    return known[0] if known else -1.0


def describe_predictions(run: ReportedRun) -> Section:
    """Return the section about the predictions of a run."""
    section = Section(f"Predictions on {run.facts['data']}: {run.name}")
    try:
        table = load_predictions(run.folder)
    except UserError as error:
        return section.add(Note(str(error)))
    if table is None:
        return section
    accuracy = float(table.is_correct.mean())
    facts = {
        "test images": f"{len(set(table.keys)):,}",
        "classes": f"{len(table.classes):,}",
        "top-1": f"{accuracy:.2%}",
    }
    if table.draws is not None:
        facts |= {"few-shot draws": f"{len(np.unique(table.draws))}, all counted together"}
    calibration = calibrate_table(table)
    section.add(Facts(facts | {"expected calibration error": f"{calibration.ece:.2%}"}))
    if run.options.get("probe") == "ridge":
        section.add(
            Note("Probabilities are (score + 1) / 2 of the closed-form classifier, which is fitted to -1 and 1.")
        )
    if table.has_single_labels:
        confusion = draw_confusion(count_confusions(table), table.classes)
        charts = (draw_class_accuracy(*count_by_class(table), table.classes), confusion)
        section.add(*(chart_figure(replace(chart, name=f"{chart.name}_{run.name[-8:]}")) for chart in charts))
    chart = draw_reliability(calibration.counts, calibration.accuracy, calibration.confidence, calibration.ece)
    section.add(chart_figure(replace(chart, name=f"{chart.name}_{run.name[-8:]}")))
    if not table.has_single_labels:
        return section.add(
            Note("Images have several labels: confusions and mistakes are of single ones, and left out.")
        )
    return section.add(*list_confused_classes(table), *show_mistakes(run, table))


def list_confused_classes(table: PredictionTable) -> Iterator[Block]:
    """Yield the table of the pairs of classes that are most often confused."""
    rows = [
        Row([f"{table.classes[pair.label]}", table.classes[pair.prediction], pair.images, 100 * pair.share])
        for pair in list_confusions(table, MAX_CONFUSIONS)
    ]
    columns = [
        Column("label"),
        Column("taken for"),
        Column("images", numeric=True),
        Column("share of the label's images", "%", numeric=True),
    ]
    if rows:
        yield Table(columns, rows, "Classes that are most often confused")


def show_mistakes(run: ReportedRun, table: PredictionTable) -> Iterator[Block]:
    """Yield the most confident mistakes as pictures with their file names, or in a table where there are none."""
    from vitrun.commands.report.thumbnails import NoImages, load_thumbnails  # which imports torch

    mistakes = list_surest_mistakes(table, MAX_MISTAKES)
    if not mistakes:
        yield Note("There are no mistakes.")
        return
    try:
        keys = [mistake.key for mistake in mistakes]
        pictures = load_thumbnails(run.options["data"], run.about.get("test_data"), keys)
    except NoImages as reason:
        yield Note(f"The most confident mistakes are listed without their pictures: {reason}")
        pictures = {}
    if pictures:
        yield Note("The most confident mistakes: images whose wrong prediction has the highest probability.")
        yield Gallery(
            [make_picture(mistake, table.classes, pictures) for mistake in mistakes if mistake.key in pictures]
        )
    rows = [Row(list_mistake_cells(mistake, table.classes)) for mistake in mistakes if mistake.key not in pictures]
    if rows:
        columns = [Column("image"), Column("label"), Column("taken for"), Column("probability", "%", numeric=True)]
        yield Table([*columns, Column("loss", numeric=True)], rows, "Most confident mistakes")


def make_picture(mistake: Mistake, classes: Sequence[str], pictures: dict[str, bytes]) -> Picture:
    """Return a mistake as a picture with the name of its file and what it was taken for."""
    content = pictures[mistake.key]
    kind = "image/png" if content.startswith(PNG_START) else "image/jpeg"
    label, prediction = classes[mistake.label], classes[mistake.prediction]
    answer = f"{label}, taken for {prediction} ({mistake.confidence:.1%})"
    return Picture(content, f"Test image {mistake.key}: {answer}", (answer, mistake.key), kind=kind)


def list_mistake_cells(mistake: Mistake, classes: Sequence[str]) -> list[str | float]:
    """Return the cells of a mistake in a table."""
    label, prediction = classes[mistake.label], classes[mistake.prediction]
    return [mistake.key, label, prediction, 100 * mistake.confidence, mistake.loss]
