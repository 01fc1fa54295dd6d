"""VTAB-1k as a suite (arXiv 1910.04867): each task in a process of its own, then the table of all nineteen."""

from collections.abc import Callable, Mapping
from statistics import mean, stdev
from typing import Any

from vitrun.config import expand
from vitrun.errors import ExitCode, UserError
from vitrun.papers.vtab_tasks import GROUPS, TASKS
from vitrun.recipes import Finetune, Suite, Vtab, tables, trees
from vitrun.runs import jobs
from vitrun.runs.execution import execute_run
from vitrun.runs.metrics import Metric, from_plain
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.console import Screen
from vitrun.runtime.text_tables import format_table

Result = dict[str, Any]


def run_suite(recipe: Finetune, run: Run, finetune: Callable[[Finetune, Run], Result]) -> Result:
    """Return the accuracy on each task and their means; a finished task is not repeated.

    Tasks whose original is absent are named as ``missing`` in the result, and the mean is then not called ``mean19``:
    the same command runs them once they are there. Raise UserError at the end if a task failed; the others are run.
    """
    if distributed.world_size() > 1:
        raise UserError("A suite runs each task as a process, one after another: start it without torchrun.")
    assert isinstance(recipe.data, Suite)
    tasks = expand.expand_suite(recipe)
    results = load_task_results(tasks)
    todo = {name: task for name, task in tasks.items() if name not in results and has_original(task)}
    if not results and not todo:
        raise UserError(
            f"data.root={recipe.data.root} has none of the originals: `vitrun data vtab data.root=FOLDER` lists what "
            "should be in it.",
            ExitCode.DATA,
        )
    run.log(
        f"suite: {len(results) + len(todo)} of {len(tasks)} tasks are available, {len(results)} are finished; each "
        "runs in its own process"
    )
    if run.dry:
        return rehearse_suite([task for name, task in tasks.items() if name in results or name in todo], run, finetune)

    def execute(task: Finetune) -> None:
        run.raise_if_interrupted()
        folder = Run("finetune", task, run.screen).folder
        jobs.execute_as_process("finetune", build_overrides(task), folder, silent=run.screen.quiet)
        run.log_metrics({"part": task.data.name})

    _, errors = jobs.run_jobs(todo, execute, run.log, run.warn)
    results = load_task_results(tasks)
    states = {name: f"failed ({errors[name].status})" if name in errors else "missing" for name in tasks}
    run.log(format_results(results, states))
    jobs.check_all_succeeded(errors, len(tasks))
    missing = [name for name in tasks if name not in results]
    return summarize_suite(results) | ({"missing": ", ".join(missing)} if missing else {})


def load_task_results(tasks: Mapping[str, Finetune]) -> dict[str, Result]:
    """Return the results of the finished tasks."""
    results = {name: Run("finetune", task, Screen(quiet=True)).result for name, task in tasks.items()}
    return {name: result for name, result in results.items() if result is not None}


def has_original(task: Finetune) -> bool:
    """Return whether the folder of a task's original is there."""
    data = task.data
    return isinstance(data, Vtab) and data.root is not None and (data.root / TASKS[data.task].builder).is_dir()


def build_overrides(recipe: Finetune) -> list[str]:
    """Return the overrides that make exactly this recipe: the rows of its groups, then every option."""
    tree = trees.to_plain_tree(recipe)
    kinds = {row["kind"]: name for name, row in tables.read_rows("optim").items()}
    files = [f"data={recipe.data.name}", f"optim={kinds[recipe.optim.kind]}"]
    return files + [f"{key}={trees.format_value(trees.get_value(tree, key))}" for key in trees.iterate_keys(tree)]


def rehearse_suite(tasks: list[Finetune], run: Run, finetune: Callable[[Finetune, Run], Result]) -> Result:
    """Return what all tasks cost, from a dry run of the first: they train on as many images for as many steps."""
    screen = run.screen.renew()
    cost = jobs.estimate(
        [(tasks[0], len(tasks))], lambda task: execute_run("finetune", task, screen, finetune, dry=True)
    )
    return {"tasks": len(tasks), **cost}


def summarize_suite(results: Mapping[str, Result]) -> Result:
    """Return the accuracy of each task, the mean of each complete group, and ``mean19``; ``mean`` if one is missing."""
    summary: Result = {name: read_accuracy(result) for name, result in results.items()}
    for group, names in GROUPS.items():
        if all(name in results for name in names):
            summary[group] = average_tasks([results[name] for name in names])
    if len(results) == len(TASKS):
        return summary | {"mean19": average_tasks(list(results.values()))}
    means = {"mean": average_tasks(list(results.values()))} if results else {}
    return summary | means | {"tasks": f"{len(results)}/{len(TASKS)}"}


def read_accuracy(result: Result) -> Metric:
    """Return the test accuracy of a task."""
    return from_plain(result)["top1"]


def average_tasks(results: list[Result]) -> Metric:
    """Return the mean over tasks; its deviation over the seeds that all have, as in the paper (table 2)."""
    by_seed = [{final["seed"]: final["top1"] for final in result.get("finals", ())} for result in results]
    seeds = [seed for seed in by_seed[0] if all(seed in accuracies for accuracies in by_seed)]
    means = [mean(accuracies[seed] for accuracies in by_seed) for seed in seeds]
    std = stdev(means) if len(means) > 1 else None
    return Metric(mean(read_accuracy(result).mean for result in results), "share", std)


def format_results(results: Mapping[str, Result], states: Mapping[str, str]) -> str:
    """Return a table of all tasks, and below them the means; a task without a result has its state."""
    summary = summarize_suite(results)

    def cell(name: str, otherwise: str = "-") -> str:
        return summary[name].percent() if name in summary else otherwise

    rows = [[name, TASKS[name].group, cell(name, state)] for name, state in states.items()]
    for group, names in GROUPS.items():
        done = sum(name in results for name in names)
        rows.append(["mean", f"{group} ({done}/{len(names)})", cell(group)])
    total = "mean19" if "mean19" in summary else "mean"
    rows.append(["mean", f"all ({len(results)}/{len(TASKS)})", cell(total)])
    return format_table(["task", "group", "top-1"], rows)
