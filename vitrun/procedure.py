"""The paper's whole procedure (arXiv 2010.11929, appendix B.1.1): a learning rate is chosen on images held out of
training, then each seed has a run on all training images, which reads the test images once."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import mean, stdev
from typing import Any

from vitrun import data, recipe
from vitrun.mistakes import Exit, Mistake
from vitrun.recipe import Finetune, Vtab
from vitrun.run import Run, carry_out, name
from vitrun.screen import Screen


def main(recipe: Finetune, run: Run, tune: Callable[..., dict]) -> dict[str, Any]:
    """The chosen learning rate, its mean test accuracy and deviation over the seeds, and what led to them.

    Each run of it, ``tune(recipe, run, open_split)``, has a folder of its own, and one that is finished is not
    repeated; all share the images in memory. A learning rate at which training breaks down (exit 5) is not chosen.
    """
    tune = partial(tune, open_split=opened_once())

    def carry(part: Finetune) -> dict[str, Any]:
        run.tick()
        return carry_out("finetune", part, Screen(run.screen.quiet, run.screen.as_json), tune, run.dry)

    seeds = recipe.seeds or (recipe.seed,)
    if run.dry:
        return rehearse(recipe, seeds, carry)
    if recipe.grid:
        run.say(f"grid: {len(recipe.grid)} learning rates are tried on held-out images, in the place of optim.lr")
    scores = try_all(recipe, run, carry)
    lr = max(sorted(scores), key=scores.get) if scores else recipe.optim.lr  # of equals the first, the smallest
    finals = {}
    for seed in seeds:
        last = final(recipe, lr, seed)
        run.say(f"final run at learning rate {lr:g}, seed {seed}: {name('finetune', last)}")
        finals[seed] = carry(last)
        run.log({"part": "final", "seed": seed, "lr": lr, "top1": finals[seed]["top1"]})
    return summary(lr, {rate: scores.get(rate, "failed") for rate in recipe.grid}, finals)


def opened_once() -> Callable[..., data.Split]:
    """``data.open_split`` that opens, and decodes, every part once."""
    opened: dict[tuple[recipe.Data, str], data.Split] = {}

    def open_split(source: recipe.Data, part: str, screen: Screen, tick: Callable[[], None]) -> data.Split:
        if (source, part) not in opened:
            opened[source, part] = data.open_split(source, part, screen, tick)
        return opened[source, part]

    return open_split


def trial(recipe: Finetune, lr: float) -> Finetune:
    """A run of the grid: it trains without the held-out images and is scored on them."""
    source, optim = recipe.data, replace(recipe.optim, lr=lr)
    if isinstance(source, Vtab):
        source = replace(source, train="train800", test="val200")
    return replace(recipe, data=source, optim=optim, grid=(), seeds=(), score="dev")


def final(recipe: Finetune, lr: float, seed: int) -> Finetune:
    """A run that counts: on all training images where a grid has chosen ``lr``, else on all but those held out."""
    dev = 0.0 if recipe.grid else recipe.dev
    return replace(recipe, optim=replace(recipe.optim, lr=lr), seed=seed, grid=(), seeds=(), dev=dev)


def try_all(recipe: Finetune, run: Run, carry: Callable[[Finetune], dict]) -> dict[float, float]:
    """The accuracy on the held-out images at each learning rate of the grid that does not break down."""
    scores = {}
    for number, lr in enumerate(recipe.grid, 1):
        run.say(f"grid {number}/{len(recipe.grid)}: learning rate {lr:g}")
        try:
            scores[lr] = carry(trial(recipe, lr))["top1"]
        except Mistake as mistake:
            if mistake.status != Exit.NUMERICS:
                raise
            run.warn(f"learning rate {lr:g} failed, the others go on: {mistake}")
        else:
            run.say(f"learning rate {lr:g}: top-1 {scores[lr]:.4f} on the held-out images")
            run.log({"part": "trial", "lr": lr, "top1": scores[lr]})
    if recipe.grid and not scores:
        raise Mistake(f"All {len(recipe.grid)} learning rates of the grid failed: give smaller ones.", Exit.NUMERICS)
    return scores


def summary(lr: float, scores: dict[float, float | str], finals: dict[int, dict]) -> dict[str, Any]:
    """The result: means over the seeds, and what each seed and each learning rate gave."""
    top1 = [found["top1"] for found in finals.values()]
    return {
        "lr": lr,
        "top1": mean(top1),
        **({"top1_std": stdev(top1)} if len(top1) > 1 else {}),
        "top5": mean(found["top5"] for found in finals.values()),
        **{f"top1_seed{seed}": found["top1"] for seed, found in finals.items()},
        **{f"dev_{rate:g}": score for rate, score in scores.items()},
        "test_images": next(iter(finals.values()))["test_images"],
    }


def rehearse(recipe: Finetune, seeds: tuple[int, ...], carry: Callable[[Finetune], dict]) -> dict[str, Any]:
    """What all runs together take, from a rehearsal of one of each kind."""
    lr = recipe.grid[0] if recipe.grid else recipe.optim.lr
    last = carry(final(recipe, lr, seeds[0]))
    first = carry(trial(recipe, lr)) if recipe.grid else last
    hours = len(recipe.grid) * first["hours"] + len(seeds) * last["hours"]
    memory = max(first["memory_gb"], last["memory_gb"])
    return {"runs": len(recipe.grid) + len(seeds), "steps": last["steps"], "hours": hours, "memory_gb": memory}
