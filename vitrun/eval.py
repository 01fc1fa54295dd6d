"""``vitrun eval``: count how often a model's answers on a test set are right."""

from typing import Any

from vitrun import data, recipe, weights
from vitrun.init import recipe_of
from vitrun.loop import OBJECTIVES, answers
from vitrun.machine import Machine
from vitrun.mistakes import Exit, Mistake
from vitrun.run import Run
from vitrun.views import WholeView


def main(recipe: recipe.Eval, run: Run) -> dict[str, Any]:
    """Top-1, top-5 and loss over every image of the test part, and ``preds.parquet`` with the answer to each."""
    machine = Machine(recipe.device, recipe.precision)
    test = data.open_split(recipe.data, "test")
    expected = len(test)
    if recipe.bad_images == "skip":
        test = data.readable(test, run.warn)
    run.say(f"data: {recipe.data.name}, {len(test)} test images, {len(test.classes)} classes")
    run.about(test_data=test.fingerprint)
    loaded = weights.load(recipe.init, recipe.runs, 0, run.say, res=recipe.res)
    if loaded.classes != len(test.classes):
        raise Mistake(
            f"{recipe.init} has a head of {loaded.classes} classes, but {recipe.data.name} has {len(test.classes)}: "
            f"fine-tune first (vitrun finetune data={recipe.data.name}), or give the init of a run on this data.",
            Exit.COMMAND,
        )
    if run.dry:
        return {"test_images": len(test)}
    objective = OBJECTIVES[(recipe_of(recipe.init, recipe.runs) or {}).get("loss", "softmax")]
    batches = data.ahead(data.testing(test, WholeView(loaded.res), recipe.batch))
    with run.screen.progress(run.verb, len(test), 0) as bar:
        found = answers(loaded.network.to(machine.device), batches, objective, machine, run.counter(bar))
    run.write("preds.parquet", lambda path: write_answers(path, found, test))
    return {
        "top1": found.accuracy(1),
        "top5": found.accuracy(5),
        "loss": float(found.losses.mean()),
        "images_used": len(found.labels),
        "images_expected": expected,
    }


def write_answers(path: Any, found: Any, test: data.Split) -> None:
    """A Parquet table: the id, the label and the five likeliest classes of each image, likeliest first."""
    import pyarrow
    import pyarrow.parquet

    columns = {"id": [test.keys[i] for i in found.indices], "label": found.labels, "top5": found.top.tolist()}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
