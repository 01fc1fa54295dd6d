"""Procedure of the paper (arXiv 2010.11929, appendix B.1.1): choose a learning rate on images held out of training,
then train on all training images for each seed, and read the test images once. With ``decays`` a weight decay is chosen
as well (as in visual prompt tuning, arXiv 2203.12119)."""

from collections.abc import Callable
from functools import partial
from statistics import mean, stdev
from typing import Any

from vitrun import data, recipes
from vitrun.config.expand import GridPoint, list_grid_points, make_final_run, make_trial
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import Finetune
from vitrun.runs import jobs
from vitrun.runs.execution import execute_run
from vitrun.runs.metrics import Metric
from vitrun.runs.run import Run, run_name
from vitrun.runtime.console import Screen

Result = dict[str, Any]
SCORES = {
    "top1": "top5",
    "AP": "AP50",
}  # the metric by which points are compared, and the one that is reported beside it


def search_learning_rate(recipe: Finetune, run: Run, tune: Callable[..., Result]) -> Result:
    """Run a trial at each point of the grid, then fine-tune at the best one for each seed; return both and the choice.

    Each trial and each final run, ``tune(recipe, run, open_split)``, has a run folder of its own and is not repeated if
    finished; all share the images in memory. A point at which training breaks down (exit code 5) is not chosen.
    """
    tune = partial(tune, open_split=cache_open_split())

    def execute(part: Finetune) -> Result:
        run.raise_if_interrupted()
        return execute_run("finetune", part, run.screen.renew(), tune, run.dry)

    seeds = recipe.seeds or (recipe.seed,)
    grid = list_grid_points(recipe)
    default = (recipe.optim.lr, recipe.optim.weight_decay)
    if run.dry:
        final = make_final_run(recipe, grid[0] if grid else default, seeds[0])
        trials = [(make_trial(recipe, grid[0]), len(grid))] if grid else []
        return jobs.estimate([*trials, (final, len(seeds))], execute)
    scores = try_points(recipe, run, execute)
    # of equal scores the first, of the smallest learning rate
    best = max(sorted(scores), key=scores.__getitem__) if scores else default
    finals = {seed: make_final_run(recipe, best, seed) for seed in seeds}
    results = run_finals(recipe, run, best, finals, execute)
    names = {seed: run_name("finetune", final) for seed, final in finals.items()}
    return summarize_search(recipe, best, scores, results) | {"finals": describe_finals(names, results)}


def try_points(recipe: Finetune, run: Run, execute: Callable[[Finetune], Result]) -> dict[GridPoint, float]:
    """Return the score on the held-out images at each point of the grid at which training does not break down."""
    grid = list_grid_points(recipe)
    scores = {}

    def execute_trial(point: GridPoint) -> None:
        result = execute(make_trial(recipe, point))
        name = find_score(result)
        scores[point] = score = result[name]
        run.log(f"{format_points(recipe, [point])}: {name.replace('top', 'top-')} {score:.4f} on the held-out images")
        run.log_metrics({"part": "trial", "lr": point[0], "weight_decay": point[1], name: score})

    if grid:
        run.log(f"grid: {format_points(recipe, grid)}, each tested on held-out images")
    trials = {format_points(recipe, [point]): point for point in grid}
    jobs.run_jobs(trials, execute_trial, run.log, run.warn, tolerated=[ExitCode.NUMERICS])
    if grid and not scores:
        raise UserError(f"All {len(grid)} points of the grid failed: use smaller learning rates.", ExitCode.NUMERICS)
    return scores


def run_finals(
    recipe: Finetune,
    run: Run,
    best: GridPoint,
    finals: dict[int, Finetune],
    execute: Callable[[Finetune], Result],
) -> dict[int, Result]:
    """Return the result of the final run of each seed."""

    def execute_final(seed: int) -> Result:
        result = execute(finals[seed])
        name, (lr, weight_decay) = find_score(result), best
        run.log_metrics({"part": "final", "seed": seed, "lr": lr, "weight_decay": weight_decay, name: result[name]})
        return result

    at = f"final run at {format_points(recipe, [best])}"
    seeds = {f"{at}, seed {seed}: {run_name('finetune', final)}": seed for seed, final in finals.items()}
    results, _ = jobs.run_jobs(seeds, execute_final, run.log, run.warn, tolerated=[])
    return {seeds[title]: result for title, result in results.items()}


def summarize_search(
    recipe: Finetune, best: GridPoint, scores: dict[GridPoint, float], results: dict[int, Result]
) -> Result:
    """Return the means over the seeds, and what each point of the grid gave (``trials``)."""
    name = find_score(next(iter(results.values())))
    values = {one: [result[one] for result in results.values()] for one in (name, SCORES[name])}
    trials = [{**describe_point(recipe, point), name: scores.get(point)} for point in list_grid_points(recipe)]
    return {
        **describe_point(recipe, best),
        **{one: Metric(mean(each), "share", stdev(each) if len(each) > 1 else None) for one, each in values.items()},
        **({"trials": trials} if trials else {}),
        "test_images": next(iter(results.values()))["test_images"],
    }


def describe_finals(names: dict[int, str], results: dict[int, Result]) -> list[Result]:
    """Return the run and the score of each seed."""
    score = find_score(next(iter(results.values())))
    return [{"seed": seed, "run": names[seed], score: result[score]} for seed, result in results.items()]


def find_score(result: Result) -> str:
    """Return the name of the metric by which runs are compared."""
    return next(name for name in SCORES if name in result)


def describe_point(recipe: Finetune, point: GridPoint) -> dict[str, float]:
    """Return a point of the grid as options; the weight decay only if it is chosen too."""
    lr, weight_decay = point
    return {"lr": lr} | ({"weight_decay": weight_decay} if recipe.decays else {})


def format_points(recipe: Finetune, points: list[GridPoint]) -> str:
    """Return ``learning rate 0.01, 0.1``, with the weight decays if they are chosen too."""
    rates, decays = (", ".join(f"{value:g}" for value in dict.fromkeys(values)) for values in zip(*points))
    return f"learning rate {rates}" + (f" with weight decay {decays}" if recipe.decays else "")


def cache_open_split() -> Callable[..., data.Split]:
    """Return ``data.open_split`` with a cache: each part is opened, and decoded, once."""
    opened: dict[tuple[recipes.Data, str], data.Split] = {}

    def open_split(source: recipes.Data, part: str, screen: Screen, tick: Callable[[], None]) -> data.Split:
        if (source, part) not in opened:
            opened[source, part] = data.open_split(source, part, screen, tick)
        return opened[source, part]

    return open_split
