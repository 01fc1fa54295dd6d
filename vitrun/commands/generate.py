"""``vitrun generate``: images sampled pixel by pixel from an ImageGPT, and completions of given ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitrun import models, recipes
from vitrun.commands.evaluate import log_view
from vitrun.commands.visualize import open_images, write_arrays
from vitrun.engine import weights
from vitrun.engine.inputs import make_eval_batches
from vitrun.errors import ExitCode, UserError
from vitrun.models import IGpt
from vitrun.plots.mosaic import enlarge, join_tiles, with_alpha
from vitrun.runs.run import Run
from vitrun.runtime import random
from vitrun.runtime.device import Machine

GRID_FILE, ARRAYS_FILE = "samples.png", "samples.npz"  # in the folder of the run
TILE = 96  # at least this many pixels of the grid for an image's side
GREY = 128  # of the pixels that are not given


def execute(recipe: recipes.Generate, run: Run) -> dict[str, Any]:
    """Write the samples as a grid and as arrays into the run; return how many there are."""
    machine = Machine(recipe.device, recipe.precision)
    weights.check_init(recipe.init, recipe.res)
    split = open_images(recipe, run) if recipe.given == "half" else None
    if recipe.given == "half" and split is None:
        raise UserError("needs images: add images=FOLDER or data=NAME, or given=none.", option="given", value="half")
    loaded = weights.load_body_for_run(recipe, run)
    network = check_samples(loaded.network)
    result: dict[str, Any] = {"colours": network.row.colours, "side": network.side}
    if recipe.top > network.row.colours:
        why = f"is more than the {network.row.colours} colours of {network.row.name}."
        raise UserError(why, option="top", value=str(recipe.top))
    originals = torch.zeros(recipe.count, 0, dtype=torch.long)  # [I, N] colours, or none
    if split is not None:
        result |= {"images": len(split), "skipped": split.skipped, "view": log_view(recipe, loaded.res, run)}
    if run.dry:
        return result
    network.eval().to(machine.device)
    if split is not None:
        batches = make_eval_batches(split, loaded.res, recipe.view, recipe.batch, machine)
        originals = torch.cat([network.quantize(batch.load_images(machine.device)) for batch in batches]).cpu()
    samples = sample_rows(recipe, network, originals, machine, run)
    save(network, originals, samples, run)
    return result | {"samples": samples.shape[0] * samples.shape[1]}


def check_samples(network: models.Network) -> IGpt:
    """Return the network; raise UserError if it does not predict the next pixel's colour."""
    if not isinstance(network, IGpt):
        why = f"{network.row.name} does not predict pixels: choose an ImageGPT, as a run of pretrain protocol=igpt."
        raise UserError(why, ExitCode.CHECKPOINT, "init")
    if not (network.row.causal and network.row.start):
        why = f"{network.row.name} was trained to see all pixels, and cannot sample one after the other."
        raise UserError(why, ExitCode.CHECKPOINT, "init")
    if not network.lm_head.weight.any():
        why = f"the layer of {network.row.name} that predicts colours is all zeros: its samples would be noise."
        raise UserError(why, ExitCode.CHECKPOINT, "init")
    return network


def sample_rows(recipe: recipes.Generate, network: IGpt, originals: Tensor, machine: Machine, run: Run) -> Tensor:
    """Return the samples [I, S, N] of I images, whose ``originals`` [I, N] are given up to half, or have no pixels.

    The random numbers of a sample depend on the seed, its image and its number alone.
    """
    rows, pixels = len(originals), network.side**2
    given = originals[:, : network.side // 2 * network.side].repeat_interleave(recipe.samples, 0)
    total = rows * recipe.samples
    parts = []
    with run.screen.progress("samples", total * pixels, 0) as bar:
        tick = run.progress_callback(bar)
        for places in np.array_split(np.arange(total), -(-total // recipe.batch)):
            draws = torch.from_numpy(random.uniform(recipe.seed, "generate", 0, places, pixels)).to(machine.device)
            with machine.autocast():
                colours = network.sample(given[places].to(machine.device), draws, recipe.temperature, recipe.top)
                parts.append(torch.stack([*count_pixels(colours, tick)], 1).cpu())
    return torch.cat(parts).unflatten(0, (rows, recipe.samples))


def count_pixels(colours: Iterator[Tensor], tick: Any) -> Iterator[Tensor]:
    """Yield the colours [B] of each pixel, and report progress."""
    for ids in colours:
        tick(len(ids))
        yield ids


def save(network: IGpt, originals: Tensor, samples: Tensor, run: Run) -> None:
    """Write the grid of images and the arrays of colours into the run."""
    network = network.cpu()
    columns = [network.paint(samples[:, number]).numpy() for number in range(samples.shape[1])]
    if originals.shape[1]:
        whole = network.paint(originals).numpy()
        half = whole.copy()
        half[:, network.side // 2 :] = GREY
        columns = [half, *columns, whole]
    grid = join_tiles(enlarge(with_alpha(np.stack(columns, 1)), TILE), gap=8)
    run.write_file(GRID_FILE, lambda path: write_png(path, grid))
    arrays = {"samples": samples.numpy(), "originals": originals.numpy(), "colours": network.colours.numpy()}
    run.write_file(ARRAYS_FILE, lambda path: write_arrays(path, arrays))
    run.log(
        f"grid: {run.folder / GRID_FILE} (given, samples, original)"
        if originals.shape[1]
        else f"grid: {run.folder / GRID_FILE}"
    )


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels [H, W, 4] as a PNG, whatever the suffix of the path."""
    with path.open("wb") as file:
        Image.fromarray(pixels).save(file, "PNG")
