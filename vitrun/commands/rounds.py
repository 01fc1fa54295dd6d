"""Rounds of Noisy Student (arXiv 1911.04252, algorithm 1): each student is the teacher of the next one."""

from collections.abc import Callable
from typing import Any, TypeVar

from vitrun.commands import evaluate
from vitrun.config import resolve
from vitrun.config.expand import make_round
from vitrun.recipes import Finetune, Pretrain, tables, trees
from vitrun.runs import jobs
from vitrun.runs.execution import execute_run
from vitrun.runs.metrics import from_plain
from vitrun.runs.run import Run
from vitrun.runs.run_files import load_about, load_result
from vitrun.runtime.text_tables import format_table

Result = dict[str, Any]
Recipe = TypeVar("Recipe", Pretrain, Finetune)


def train_rounds(recipe: Recipe, run: Run, train: Callable[[Recipe, Run], Result]) -> Result:
    """Train ``recipe.rounds`` students, the first with ``recipe.teacher``, each other one with the student before it.

    Each student, by ``train(recipe, run)``, has a run folder of its own and is not repeated if finished. Return the
    metrics of the last one, and ``rounds``: the run and top-1 accuracy of the teacher (round 0) and of each student.
    """

    def execute(part: Recipe) -> Result:
        run.raise_if_interrupted()
        return execute_run(run.command, part, run.screen.renew(), train, run.dry)

    first = recipe.teacher or ""  # the recipe has checked that there is one
    if run.dry:
        return jobs.estimate([(make_round(run.command, recipe, first), recipe.rounds)], execute)
    students: dict[str, Result] = {}

    def execute_round(number: int) -> None:
        part = make_round(run.command, recipe, [first, *students][-1])
        result = execute(part)
        students[Run(run.command, part, run.screen).name] = result
        run.log_metrics({"part": "round", "round": number, "top1": result["top1"]})

    titles = {f"round {number} of {recipe.rounds}": number for number in range(1, recipe.rounds + 1)}
    jobs.run_jobs(titles, execute_round, run.log, run.warn, tolerated=())
    last = from_plain([*students.values()][-1])
    metrics = {name: last[name] for name in ("top1", "top5", "loss")}
    rows = [{"round": 0, "run": first, "top1": measure_teacher(recipe, [*students][0], run)}]
    rows += [{"round": row, "run": name, "top1": students[name]["top1"]} for row, name in enumerate(students, 1)]
    run.log(format_rounds(rows))
    return {**metrics, "rounds": rows, "test_images": last["test_images"]}


def measure_teacher(recipe: Pretrain | Finetune, student: str, run: Run) -> float:
    """Return the first teacher's top-1 on the test images: that of its run if it was tested on them, else a new one."""
    teacher = str(recipe.teacher)
    result = load_result(recipe.runs / teacher) if (recipe.runs / teacher).is_dir() else None
    before, now = (load_about(recipe.runs / name).get("test_data") for name in (teacher, student))
    if result is None or "top1" not in result or before != now:
        tree = trees.to_plain_tree(recipe)["data"]
        options = [
            f"data.{key}={trees.format_value(value)}" for key, value in tree.items() if key not in ("source", "name")
        ]
        overrides = [f"init={teacher}", f"data={tables.find_data_row(tree)}", *options, f"runs={recipe.runs}"]
        tested = resolve.resolve_recipe("eval", [*overrides, f"device={recipe.device}"])
        result = execute_run("eval", tested, run.screen.renew(), evaluate.execute)
    return float(result["top1"])


def format_rounds(rows: list[dict[str, Any]]) -> str:
    """Return a table of the teacher and each student, with the gain over the one before."""
    gains = ["", *(f"{100 * (row['top1'] - before['top1']):+.2f}" for before, row in zip(rows, rows[1:]))]
    cells = [
        [str(row["round"]) if row["round"] else "teacher", row["run"], f"{100 * row['top1']:.2f}", gain]
        for row, gain in zip(rows, gains)
    ]
    return format_table(["round", "run", "top-1", "gain"], cells)
