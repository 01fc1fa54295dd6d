"""VTAB-1k as a suite (arXiv 1910.04867): each task in a process of its own, then the table of all nineteen."""

from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

from vitrun.config import expand
from vitrun.errors import ExitCode, UserError
from vitrun.papers.vtab_tasks import GROUPS, TASKS
from vitrun.recipes import Finetune, tables, trees
from vitrun.runs.run import Interrupted, Run, execute_run
from vitrun.runtime import distributed, subprocesses
from vitrun.runtime.console import Screen, format_table

SEED_PREFIX = "top1_seed"  # begins the names of what each seed of a task gave
Result = dict[str, Any]


def run_suite(recipe: Finetune, run: Run, single: Callable[[Finetune, Run], Result]) -> Result:
    """The accuracy on each task and the means of all; a finished task is not repeated, a failed one stops no other.

    Where an original is not there the result names its task as ``missing``, and the mean is not called that of
    nineteen: once it is there the same command runs it. A UserError at the end where a task failed.
    """
    if distributed.world_size() > 1:
        raise UserError("A suite has a process for each task, one after the other: start it without torchrun.")
    tasks = expand.expand_suite(recipe)
    here = {name: task for name, task in tasks.items() if load_task_result(task, run) or has_original(task)}
    if not here:
        raise UserError(
            f"data.root={recipe.data.root} holds none of the originals: `vitrun data vtab data.root=FOLDER` says what "
            "it should.",
            ExitCode.DATA,
        )
    run.log(f"suite: {len(here)} of {len(tasks)} tasks are there, each in a process of its own")
    if run.dry:
        return rehearse_suite(list(here.values()), run, single)
    failed = {}
    for number, (name, task) in enumerate(here.items(), 1):
        if load_task_result(task, run) is None and (
            status := run_task(f"task {number}/{len(here)}: {name}", task, run)
        ):
            failed[name] = status
    results = {name: result for name, task in here.items() if (result := load_task_result(task, run)) is not None}
    states = {name: f"failed ({failed[name]})" if name in failed else "missing" for name in tasks}
    run.log(format_results(results, states))
    if failed:
        raise UserError(
            f"{len(failed)} of {len(tasks)} tasks failed: {', '.join(failed)}. The reasons are above, and in the logs "
            f"of their runs in {recipe.runs}. The same command repeats these alone.",
            max(failed.values()),
        )
    missing = [name for name in tasks if name not in results]
    return summarize_suite(results) | ({"missing": ", ".join(missing)} if missing else {})


def load_task_result(task: Finetune, run: Run) -> Result | None:
    """What the run of a task found; None where it is not finished."""
    place = Run("finetune", task, run.screen).result
    return place and place["result"]


def has_original(task: Finetune) -> bool:
    """Whether the folder of a task's original is there."""
    return (task.data.root / TASKS[task.data.task].builder).is_dir()


def run_task(title: str, task: Finetune, run: Run) -> int:
    """The exit status of a task's process; Stopped where it was asked to end."""
    run.raise_if_interrupted()
    run.log(title)
    status = subprocesses.run_process("finetune", build_overrides(task), silent=run.screen.quiet)
    if status in subprocesses.STOP_CODES:
        raise Interrupted(ExitCode(status))
    run.log_metrics({"part": title, "status": status})
    return status


def build_overrides(recipe: Finetune) -> list[str]:
    """The overrides that make a recipe, and nothing else: the files of its groups, then every option."""
    tree = trees.to_plain_tree(recipe)
    kinds = {row["kind"]: name for name, row in tables.read_rows("optim").items()}
    files = [f"data={recipe.data.name}", f"optim={kinds[recipe.optim.kind]}"]
    return files + [f"{key}={trees.format_value(trees.get_value(tree, key))}" for key in trees.iterate_keys(tree)]


def rehearse_suite(tasks: list[Finetune], run: Run, single: Callable[[Finetune, Run], Result]) -> Result:
    """What all tasks together take, from a rehearsal of the first: they train on as many images for as many steps."""
    result = execute_run("finetune", tasks[0], Screen(run.screen.quiet, run.screen.as_json), single, dry=True)
    return {"tasks": len(tasks), **result, "hours": len(tasks) * result["hours"]}


def summarize_suite(results: dict[str, Result]) -> Result:
    """Each task's accuracy, the mean of each whole group, and ``mean19``; or ``mean`` of those ``tasks`` there are."""
    flat = {}
    for name, result in results.items():
        flat |= {name + key: result[f"top1{key}"] for key in ("", "_std") if f"top1{key}" in result}
    for group, names in GROUPS.items():
        if all(name in results for name in names):
            flat |= average_tasks(group, [results[name] for name in names])
    if len(results) == len(TASKS):
        return flat | average_tasks("mean19", list(results.values()))
    return flat | average_tasks("mean", list(results.values())) | {"tasks": f"{len(results)}/{len(TASKS)}"}


def average_tasks(name: str, results: list[Result]) -> Result:
    """The mean over tasks; its deviation over the seeds that all have, as the paper gives it (table 2)."""
    if not results:
        return {}
    seeds = [key for key in results[0] if key.startswith(SEED_PREFIX) and all(key in result for result in results)]
    means = [mean(result[seed] for result in results) for seed in seeds]
    deviation = {f"{name}_std": stdev(means)} if len(means) > 1 else {}
    return {name: mean(result["top1"] for result in results)} | deviation


def format_results(results: dict[str, Result], states: dict[str, str]) -> str:
    """A table of all tasks, and below them the means; a task without a result has its state."""
    flat = summarize_suite(results)
    rows = [[name, TASKS[name].group, format_percent(flat, name) or state] for name, state in states.items()]
    for group, names in GROUPS.items():
        there = sum(name in results for name in names)
        rows.append(["mean", f"{group} ({there}/{len(names)})", format_percent(flat, group) or "-"])
    total = "mean19" if "mean19" in flat else "mean"
    rows.append(["mean", f"all ({len(results)}/{len(TASKS)})", format_percent(flat, total) or "-"])
    return format_table(["task", "group", "top-1"], rows)


def format_percent(flat: Result, name: str) -> str:
    """A share in percent, with its deviation where there is one; nothing where the share is not there."""
    if name not in flat:
        return ""
    deviation = f" ± {100 * flat[f'{name}_std']:.2f}" if f"{name}_std" in flat else ""
    return f"{100 * flat[name]:.2f}{deviation}"
