"""``vitrun visualize``: what a vision transformer attends to, its filters and its positions, as figures and data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrun import data, models, recipes
from vitrun.commands.evaluate import log_view
from vitrun.commands.figure_files import save_figures
from vitrun.engine import weights
from vitrun.engine.inputs import make_eval_batches, open_parts
from vitrun.errors import ExitCode, UserError
from vitrun.models import AttentionLayout, LoadedModel, NoEmbedding, NoGlobalAttention
from vitrun.plots import attention as plots
from vitrun.plots.chart import Chart
from vitrun.plots.page import Facts, Note, Page, chart_figure
from vitrun.probes.attention_survey import AttentionFindings, AttentionSurvey, limit_batch
from vitrun.probes.weight_images import position_similarity, principal_filters
from vitrun.runs.metrics import Metric
from vitrun.runs.run import Run
from vitrun.runs.weights_view import describe_view
from vitrun.runtime.device import Machine

FILTERS = 28  # as figure 7 shows
MOST_TILES = 14  # of positions in a row: those of patches of 16 pixels at 224
ARRAYS_FILE, PAGE_FILE = "arrays.npz", "page.html"  # in the folder of the run
WEIGHT_FIGURES = ("filters", "positions")
NEEDS_IMAGES = "attention, which needs images: add images=FOLDER or data=NAME"


@dataclass
class Drawing:
    """Figures of a network, their data as arrays, and why others are not drawn."""

    charts: list[Chart] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    not_drawn: list[str] = field(default_factory=list)


def execute(recipe: recipes.Visualize, run: Run) -> dict[str, Any]:
    """Draw the figures of a network into the run, with their data; return what they show in numbers."""
    machine = Machine(recipe.device, recipe.precision)
    weights.check_init(recipe.init, recipe.res)
    split = open_images(recipe, run)
    loaded = weights.load_body_for_run(recipe, run)
    loaded.network.eval().to(machine.device)
    drawing = Drawing()
    layout = find_attention(loaded, drawing)
    if layout is not None and split is None:
        drawing.not_drawn.append(NEEDS_IMAGES)
    draw_weights(loaded, drawing)
    for reason in drawing.not_drawn:
        run.log(f"not drawn: {reason}")
    result: dict[str, Any] = {}
    if layout is not None and split is not None:
        survey = plan_survey(recipe, loaded, layout, len(split))
        view = log_view(recipe, loaded.res, run)
        result = {"images": len(split), "skipped": split.skipped, "view": view}
        if not run.dry:
            findings = survey_images(recipe, run, machine, loaded, survey, split)
            draw_attention(findings, survey, drawing)
            result |= summarize_distances(findings, survey)
    elif not drawing.charts:
        why = f"nothing of {loaded.model.name} can be drawn: {'; '.join(drawing.not_drawn)}."
        raise UserError(why, ExitCode.CHECKPOINT)
    if not run.dry:
        result |= save(drawing, describe(loaded, layout, result), run)
    return result | ({"not_drawn": drawing.not_drawn} if drawing.not_drawn else {})


def open_images(recipe: recipes.Visualize | recipes.Generate, run: Run) -> data.Split | None:
    """Return up to ``recipe.count`` readable images, evenly drawn; log those that are not. None if none are named."""
    if recipe.images:
        files, left_out = data.list_image_files(recipe.images)
        what = f", left out: {left_out.describe()}" if left_out.counts else ""
        if not files:
            raise UserError(f"no images there{what}.", ExitCode.DATA, "images", ", ".join(recipe.images))
        split = data.open_image_files(files)
        run.log(f"images: {len(files):,} file{'s' * (len(files) > 1)}{what}")
    elif recipe.data is not None:
        (split,) = open_parts(recipe.data, ("test",), run)
    else:
        return None
    split = split.select(spread(len(split), recipe.count))
    return split if run.dry else data.drop_bad_images(split, run.warn)


def spread(total: int, number: int) -> np.ndarray:
    """Return up to ``number`` indices below ``total``, evenly spaced: data sets are sorted by class."""
    return np.linspace(0, total - 1, min(total, number)).round().astype(np.int64)


def find_attention(loaded: LoadedModel, drawing: Drawing) -> AttentionLayout | None:
    """Return the layout of the tokens; None, with the reason in ``drawing``, if layers do not attend to all of them.

    Raise UserError if the network has no attention.
    """
    try:
        return models.find_layout(loaded.network, loaded.res)
    except NoGlobalAttention as error:
        drawing.not_drawn.append(f"attention: {error}")
        return None


def plan_survey(
    recipe: recipes.Visualize, loaded: LoadedModel, layout: AttentionLayout, images: int
) -> AttentionSurvey:
    """Return a survey of the recipe's layers; raise UserError if the network does not have them."""
    numbers = [layer for layer in recipe.layers if isinstance(layer, int)]
    if max(numbers, default=0) > layout.layers:
        given = ",".join(map(str, numbers))
        raise UserError(f"{loaded.model.name} has layers 1 to {layout.layers}.", option="layers", value=given)
    named = {"all": [*range(layout.layers)], "last": [layout.layers - 1]}
    layers = [number - 1 for number in numbers] or named[str(recipe.layers[0])]
    shown = {*spread(images, recipe.shown).tolist()}
    return AttentionSurvey(layout, loaded.res, shown, layers, recipe.heads == "each")


def survey_images(
    recipe: recipes.Visualize,
    run: Run,
    machine: Machine,
    loaded: LoadedModel,
    survey: AttentionSurvey,
    split: data.Split,
) -> AttentionFindings:
    """Return what a survey finds in the images of a split."""
    batch = limit_batch(recipe.batch, survey.layout)
    with run.screen.progress("attention", len(split), 0) as bar:
        tick = run.progress_callback(bar)
        for images in make_eval_batches(split, loaded.res, recipe.view, batch, machine):
            survey.add(loaded.network, images, machine)
            tick(len(images.images))
    return survey.finish()


def draw_weights(loaded: LoadedModel, drawing: Drawing) -> None:
    """Add the figures of filters and positions, which need no images, or why there are none."""
    try:
        filters, explained = principal_filters(models.patch_filters(loaded.network), FILTERS)
        drawing.arrays |= {"filters": filters.numpy(), "filters_variance": explained.numpy()}
        drawing.charts.append(plots.draw_filters(filters.numpy(), explained.numpy()))
    except NoEmbedding as error:
        drawing.not_drawn.append(f"filters: {error}")
    try:
        similarity, places = position_similarity(models.grid_positions(loaded.network), MOST_TILES)
        drawing.arrays |= {"positions": similarity.float().numpy(), "positions_places": places.numpy()}
        drawing.charts.append(plots.draw_similarity(similarity.numpy(), places.tolist()))
    except NoEmbedding as error:
        drawing.not_drawn.append(f"positions: {error}")


def draw_attention(findings: AttentionFindings, survey: AttentionSurvey, drawing: Drawing) -> None:
    """Add the figures of attention: rollouts first, as the paper shows them."""
    layers, maps = [layer + 1 for layer in survey.layers], findings.maps
    charts = [plots.draw_distances(findings.distances[..., 0], survey.meter.uniform, findings.images)]
    if findings.keys:
        charts.insert(0, plots.draw_rollouts(findings.pixels, findings.rollouts, findings.keys))
    if findings.keys and survey.each_head:
        charts += [plots.draw_heads(maps[n], key, layers, n + 1) for n, key in enumerate(findings.keys)]
    elif findings.keys:
        charts.append(plots.draw_layers(findings.pixels, maps[:, :, 0], findings.keys, layers))
    drawing.charts[:0] = charts
    drawing.arrays |= {
        "images": findings.pixels,
        "keys": np.array(findings.keys, dtype=str),
        "rollout": findings.rollouts,
        "attention": maps,
        "attention_layers": np.array(layers),
        **dict(zip(("distance", "distance_not_normalized", "prefix_share"), np.moveaxis(findings.distances, -1, 0))),
    }


def summarize_distances(findings: AttentionFindings, survey: AttentionSurvey) -> dict[str, Any]:
    """Return the mean attention distance of the first and the last layer, and that of uniform attention."""
    first, last = (Metric(float(findings.distances[layer, :, 0].mean()), "px") for layer in (0, -1))
    return {
        "distance_first_layer": first,
        "distance_last_layer": last,
        "distance_uniform": Metric(survey.meter.uniform, "px"),
    }


def describe(loaded: LoadedModel, layout: AttentionLayout | None, result: dict[str, Any]) -> dict[str, object]:
    """Return what the page says of the network and the images."""
    facts: dict[str, object] = {"network": loaded.model.name, "resolution": f"{loaded.res} px"}
    if layout is not None:
        tokens = f"{layout.side} by {layout.side} patches of {loaded.res / layout.side:g} px"
        others = f" and {layout.prefix} other{'s' * (layout.prefix > 1)}" if layout.prefix else ""
        facts |= {"layers": layout.layers, "heads": layout.heads, "tokens": tokens + others}
    if "images" in result:
        facts["images"] = f"{result['images']} images" + (
            f", {result['skipped']} unreadable" if result["skipped"] else ""
        )
        facts["view"] = f"{describe_view(result['view'])} ({result['view']['source']})"
    return facts


def save(drawing: Drawing, facts: dict[str, object], run: Run) -> dict[str, Any]:
    """Write each figure as PNG, SVG and CSV, all arrays, and the page into the run; return where they are."""
    save_figures(drawing.charts, run)
    page = build_page(drawing, facts, run)
    run.write_file(ARRAYS_FILE, lambda path: write_arrays(path, drawing.arrays))
    run.write_file(PAGE_FILE, lambda path: path.write_text(page.to_html(), encoding="utf-8"))
    run.log(f"page: {run.folder / PAGE_FILE}")
    return {"figures": [chart.name for chart in drawing.charts]}


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as a compressed ``.npz``, whatever the suffix of the path."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def build_page(drawing: Drawing, facts: dict[str, object], run: Run) -> Page:
    """Return the page with all figures."""
    lead = [f"Beside this page: figures/ with each figure as PNG, SVG and CSV, and {ARRAYS_FILE} with all data."]
    page = Page(f"{facts['network']}: attention, filters and positions", lead, footer=f"vitrun {run.name}")
    page.add("Network", Facts({"weights": run.init} | facts))
    sections = {"Attention": page.add("Attention"), "Weights": page.add("Weights")}
    for chart in drawing.charts:
        sections["Weights" if chart.name in WEIGHT_FIGURES else "Attention"].add(chart_figure(chart))
    page.add("Not drawn", *(Note(f"{reason}.") for reason in drawing.not_drawn))
    return page
