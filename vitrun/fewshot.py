"""``vitrun fewshot``: a closed-form linear classifier on frozen features of a few images a class."""

import json
from typing import Any

from vitrun import recipe, ridge, weights
from vitrun.embed import embed
from vitrun.images import open_parts
from vitrun.machine import Machine
from vitrun.mistakes import Mistake
from vitrun.run import Run


def main(recipe: recipe.Fewshot, run: Run) -> dict[str, Any]:
    """Test accuracy at each number of shots: mean, deviation and 95 % interval over the seeds; ``drawn.json``."""
    machine = Machine(recipe.device, recipe.precision)
    train, test = open_parts(recipe.data, ("train", "test"), run, recipe.bad_images == "skip")
    if train.labels.ndim > 1 or test.labels.ndim > 1:
        raise Mistake(f"data={recipe.data.name} has images of several labels; fewshot knows one label an image.")
    loaded = weights.load(recipe.init, recipe.runs, 0, run.say, res=recipe.res)
    if run.dry:
        return {"train_images": len(train), "test_images": len(test)}
    both = [
        ridge.Features(*embed(recipe, run, machine, loaded, recipe.data, split), len(train.classes))
        for split in (train, test)
    ]
    draws = ridge.probe(*both, recipe.shots, recipe.seeds, recipe.l2)
    drawn = {f"seed {one.seed}, {one.shots} shots": [train.keys[i] for i in one.rows.tolist()] for one in draws}
    run.write("drawn.json", lambda path: path.write_text(json.dumps(drawn), encoding="utf-8"))
    found = ridge.summary(draws, chosen=len(recipe.l2) > 1)
    for shots in recipe.shots:
        run.say(f"{shots} shots: {ridge.told(f'shot{shots}', found)} % over {len(recipe.seeds)} draws")
    return {**found, "images_used": len(test), "images_expected": len(test) + test.skipped}
