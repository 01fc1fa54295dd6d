"""Section of a report about what a detector finds: COCO's twelve metrics, AP by class, and a picture of boxes."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from vitrun.commands.report.gather import Material, ReportedRun
from vitrun.commands.report.predictions_section import choose_runs
from vitrun.commands.report.thumbnails import JPEG_QUALITY
from vitrun.errors import UserError
from vitrun.plots.classes import draw_class_ap
from vitrun.plots.page import Block, Column, Facts, Note, Picture, Row, Section, Table, chart_figure
from vitrun.runs.detections import CLASSES_FILE, PICTURE_FILE, ClassScore, load_class_scores
from vitrun.runs.metrics import DETECTION_METRICS

MEANINGS = (  # of DETECTION_METRICS
    "average precision, the mean over IoU 0.50 to 0.95",
    "average precision at IoU 0.50",
    "average precision at IoU 0.75",
    "AP of objects up to 32 by 32 pixels",
    "AP of objects up to 96 by 96 pixels",
    "AP of larger objects",
    "average recall with the most confident box of each image",
    "average recall with 10 boxes per image",
    "average recall with 100 boxes per image",
    "AR100 of objects up to 32 by 32 pixels",
    "AR100 of objects up to 96 by 96 pixels",
    "AR100 of larger objects",
)
MAX_EXTREMES = 10  # best and worst classes of more than twice as many
COLUMN_UNITS = {"objects": "", "AP": "%", "AP50": "%"}
WIDEST = 1600  # pixels of the picture on the page


def list_boxes(material: Material, detailed: int) -> list[Section]:
    """Return a section for the run with the highest AP on each of ``detailed`` data sets, with a note on other runs."""
    chosen, others = choose_runs(material, detailed, CLASSES_FILE, read_ap)
    sections = [describe_boxes(run) for run in chosen] if detailed else []
    if others and sections:
        why = "shown is that with the highest AP on each data set. only=RUN shows another."
        sections[-1].add(Note(f"{len(others)} more runs have boxes: {why}"))
    return sections


def read_ap(run: ReportedRun) -> float:
    """Return the AP of a run; -1 if it has none."""
    metrics = run.counted.metrics if run.counted else {}
    return metrics["AP"].mean if "AP" in metrics else -1.0


def describe_boxes(run: ReportedRun) -> Section:
    """Return the section about the boxes that a run found."""
    section = Section(f"Boxes on {run.facts['data']}: {run.name}")
    try:
        scores = load_class_scores(run.folder)
    except UserError as error:
        return section.add(Note(str(error)), *show_picture(run))
    shown = [score for score in scores if not math.isnan(score.ap)]
    images = run.result.get("images_used", run.result.get("test_images"))
    facts = {"test images": images, "objects": sum(score.objects for score in scores), "classes": len(shown)}
    section.add(Facts({name: f"{value:,}" for name, value in facts.items() if isinstance(value, int)}))
    section.add(*list_metrics(run))
    if shown:
        counts, ap = np.array([score.objects for score in shown]), np.array([score.ap for score in shown])
        chart = draw_class_ap(counts, ap, [score.name for score in shown])
        section.add(chart_figure(replace(chart, name=f"{chart.name}_{run.name[-8:]}")), tabulate_classes(shown))
    return section.add(*show_picture(run))


def list_metrics(run: ReportedRun) -> Iterator[Block]:
    """Yield the table of COCO's metrics, without those of sizes that no object has."""
    metrics = run.counted.metrics if run.counted else {}
    rows = [
        Row([name, 100 * metrics[name].mean, meaning])
        for name, meaning in zip(DETECTION_METRICS, MEANINGS)
        if name in metrics
    ]
    if rows:
        yield Table([Column("metric"), Column("value", "%", numeric=True), Column("meaning")], rows, "COCO's metrics")


def tabulate_classes(scores: Sequence[ClassScore]) -> Table:
    """Return the table of classes, the best first; of many the best and the worst."""
    ranked, title = sorted(scores, key=lambda score: -score.ap), "AP by class"
    if len(ranked) > 2 * MAX_EXTREMES:
        title = f"The {MAX_EXTREMES} classes with the highest AP and the {MAX_EXTREMES} with the lowest"
        ranked = [*ranked[:MAX_EXTREMES], *ranked[-MAX_EXTREMES:]]
    columns = [Column("class"), *(Column(name, unit, numeric=True) for name, unit in COLUMN_UNITS.items())]
    return Table(columns, [Row([s.name, s.objects, 100 * s.ap, 100 * s.ap50]) for s in ranked], title)


def show_picture(run: ReportedRun) -> Iterator[Block]:
    """Yield the picture of test images with their boxes, or a note if it cannot be read."""
    path = run.folder / PICTURE_FILE
    if not path.is_file():
        return
    try:
        with Image.open(path, formats=["PNG"]) as image:
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        yield Note(f"{PICTURE_FILE} cannot be shown: {error}")
        return
    picture.thumbnail((WIDEST, 10 * WIDEST))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    caption = "Test images: true boxes dashed and white, found ones of 50 % or more in the colours of their classes."
    yield Picture(file.getvalue(), "Test images with true and found boxes", (caption,), kind="image/jpeg")
