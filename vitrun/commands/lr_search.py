"""The paper's whole procedure (arXiv 2010.11929, appendix B.1.1): a learning rate is chosen on images held out of
training, then each seed has a run on all training images, which reads the test images once. Where ``decays`` are given
(as in visual prompt tuning, arXiv 2203.12119) a weight decay is chosen with it."""

from collections.abc import Callable
from functools import partial
from statistics import mean, stdev
from typing import Any

from vitrun import data, recipes
from vitrun.config.expand import GridPoint, list_grid_points, make_final_run, make_trial
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import Finetune
from vitrun.runs.run import Run, execute_run, run_name
from vitrun.runtime.console import Screen


def search_learning_rate(recipe: Finetune, run: Run, tune: Callable[..., dict]) -> dict[str, Any]:
    """The chosen point of the grid, its mean test accuracy and deviation over the seeds, and what led to them.

    Each run of it, ``tune(recipe, run, open_split)``, has a folder of its own, and one that is finished is not
    repeated; all share the images in memory. A point at which training breaks down (exit 5) is not chosen.
    """
    tune = partial(tune, open_split=cache_open_split())

    def carry(part: Finetune) -> dict[str, Any]:
        run.raise_if_interrupted()
        return execute_run("finetune", part, Screen(run.screen.quiet, run.screen.as_json), tune, run.dry)

    seeds = recipe.seeds or (recipe.seed,)
    if run.dry:
        return rehearse_search(recipe, seeds, carry)
    if recipe.grid:
        run.log(f"grid: {format_points(recipe, list_grid_points(recipe))} are tried on held-out images")
    scores = try_points(recipe, run, carry)
    # of equals the first, of the smallest learning rate
    best = max(sorted(scores), key=scores.get) if scores else (recipe.optim.lr, recipe.optim.weight_decay)
    finals = {}
    for seed in seeds:
        last = make_final_run(recipe, best, seed)
        run.log(f"final run at {format_points(recipe, [best])}, seed {seed}: {run_name('finetune', last)}")
        finals[seed] = carry(last)
        run.log_metrics(
            {"part": "final", "seed": seed, "lr": best[0], "weight_decay": best[1], "top1": finals[seed]["top1"]}
        )
    return summarize_search(recipe, best, scores, finals)


def format_points(recipe: Finetune, some: list[GridPoint]) -> str:
    """Points of the grid in overrides; the weight decay only where it is chosen too."""
    rates, decays = (", ".join(f"{value:g}" for value in dict.fromkeys(values)) for values in zip(*some))
    return f"learning rate {rates}" + (f" with weight decay {decays}" if recipe.decays else "")


def cache_open_split() -> Callable[..., data.Split]:
    """``data.open_split`` that opens, and decodes, every part once."""
    opened: dict[tuple[recipes.Data, str], data.Split] = {}

    def open_split(source: recipes.Data, part: str, screen: Screen, tick: Callable[[], None]) -> data.Split:
        if (source, part) not in opened:
            opened[source, part] = data.open_split(source, part, screen, tick)
        return opened[source, part]

    return open_split


def try_points(recipe: Finetune, run: Run, carry: Callable[[Finetune], dict]) -> dict[GridPoint, float]:
    """The accuracy on the held-out images at each point of the grid at which training does not break down."""
    scores, grid = {}, list_grid_points(recipe)
    for number, point in enumerate(grid, 1):
        here = format_points(recipe, [point])
        run.log(f"grid {number}/{len(grid)}: {here}")
        try:
            scores[point] = carry(make_trial(recipe, point))["top1"]
        except UserError as mistake:
            if mistake.status != ExitCode.NUMERICS:
                raise
            run.warn(f"{here} failed, the others go on: {mistake}")
        else:
            run.log(f"{here}: top-1 {scores[point]:.4f} on the held-out images")
            run.log_metrics({"part": "trial", "lr": point[0], "weight_decay": point[1], "top1": scores[point]})
    if grid and not scores:
        raise UserError(f"All {len(grid)} points of the grid failed: give smaller learning rates.", ExitCode.NUMERICS)
    return scores


def summarize_search(
    recipe: Finetune, best: GridPoint, scores: dict[GridPoint, float], finals: dict[int, dict]
) -> dict[str, Any]:
    """The result: means over the seeds, and what each seed and each point of the grid gave."""
    top1 = [found["top1"] for found in finals.values()]
    return {
        "lr": best[0],
        **({"weight_decay": best[1]} if recipe.decays else {}),
        "top1": mean(top1),
        **({"top1_std": stdev(top1)} if len(top1) > 1 else {}),
        "top5": mean(found["top5"] for found in finals.values()),
        **{f"top1_seed{seed}": found["top1"] for seed, found in finals.items()},
        **{
            f"dev_{lr:g}" + (f"_{decay:g}" if recipe.decays else ""): scores.get((lr, decay), "failed")
            for lr, decay in list_grid_points(recipe)
        },
        "test_images": next(iter(finals.values()))["test_images"],
    }


def rehearse_search(recipe: Finetune, seeds: tuple[int, ...], carry: Callable[[Finetune], dict]) -> dict[str, Any]:
    """What all runs together take, from a rehearsal of one of each kind."""
    grid = list_grid_points(recipe)
    point = grid[0] if grid else (recipe.optim.lr, recipe.optim.weight_decay)
    last = carry(make_final_run(recipe, point, seeds[0]))
    first = carry(make_trial(recipe, point)) if grid else last
    hours = len(grid) * first["hours"] + len(seeds) * last["hours"]
    memory = max(first["memory_gb"], last["memory_gb"])
    return {"runs": len(grid) + len(seeds), "steps": last["steps"], "hours": hours, "memory_gb": memory}
