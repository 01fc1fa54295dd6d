"""Published facts about a task of VTAB-1k, and about the suite of all tasks."""

from vitrun import recipes
from vitrun.data.sources.facts import Facts
from vitrun.data.sources.vtab.builders import task_licence, task_sizes
from vitrun.data.sources.vtab.originals import ARCHIVES
from vitrun.papers.vtab_tasks import TASKS


def task_facts(data: recipes.Vtab) -> Facts:
    """Return the published facts of a task."""
    archive = ARCHIVES[TASKS[data.task].builder]
    origin = f" Its folder has {archive.layout}{archive.details}; it comes from {archive.home}."
    return Facts(*task_sizes(data.task), licence=task_licence(data.task), paper="VTAB", origin=origin)


def suite_facts(data: recipes.Suite) -> Facts:
    """Return the facts of a suite, whose tasks have rows of their own."""
    return Facts(paper="VTAB")
