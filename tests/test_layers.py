"""Imports point one way, torch loads late, and one module touches each outside thing."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vitrun
from vitrun.cli import VERBS

PACKAGE = Path(vitrun.__file__).parent
# From low to high. A room imports those before it only; rooms in one pair of brackets do not know each other.
ROOMS = (
    ("mistakes", "recipe", "draws", "resample"),
    ("ranks",),
    ("screen",),
    ("choices", "checkpoints", "jobs", "process"),
    ("rows", "grammar", "protocols"),
    ("published",),
    ("config", "init"),
    ("exclude", "origins", "offers", "unread"),
    ("start", "run", "marks"),
    ("models", "machine", "views", "randaugment", "data", "optim", "ridge", "linear"),
    ("state", "weights", "images"),
    ("loop",),
    ("meter", "objectives", "masking"),
    ("probing",),
    ("facts",),
    ("results",),
    ("training", "embed"),
    ("procedure", "suite"),
    ("pretrain", "finetune", "fewshot", "eval", "dedup", "compare", "export", "quickstart", "several", "sweep"),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
LIGHT = (
    "cli",
    "choices",
    "config",
    "init",
    "exclude",
    "rows",
    "protocols",
    "start",
    "marks",
    "recipe",
    "mistakes",
    "run",
    "checkpoints",
    "screen",
    "jobs",
    "process",
    "ranks",
    "several",
    "grammar",
    "origins",
    "unread",
    "offers",
    "sweep",
)
SLOW = {"torch", "torchvision", "timm", "datasets", "huggingface_hub", "sklearn", "hydra", "omegaconf"}
OWNERS = {
    "hydra": {"config"},
    "omegaconf": {"config"},
    "timm": {"models"},
    "torchvision": {"randaugment"},
    "datasets": {"data"},
    "h5py": {"data"},
    "scipy": {"data", "ridge"},
    "huggingface_hub": {"data", "init", "models"},
    "typer": {"cli"},
}
LIGHT += ("published", "facts", "results", "compare")

FILES = {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name.removesuffix("__init__").rstrip("."): ast.parse(file.read_text()) for name, file in FILES.items()}


def imports(nodes) -> set[str]:
    """Dotted names that import statements among ``nodes`` name; ``from a import b`` is a.b where that is a module."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {w if w.removeprefix("vitrun.") in MODULES else node.module for w in whole}
    return found


def at_the_top(tree: ast.Module) -> list[ast.AST]:
    """All nodes that run on import: those outside functions."""
    found, todo = [], [tree]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                found.append(node)
                todo.append(node)
    return found


def own(names: set[str]) -> set[str]:
    """The modules of the package among ``names``, without its name."""
    return {name.removeprefix("vitrun.") for name in names if name.startswith("vitrun.")}


def test_every_room_has_its_place_in_the_order():
    assert {name.split(".")[0] for name in MODULES if name} == set(LEVEL)
    assert set(VERBS) <= set(LEVEL)


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_point_one_way(module):
    room = module.split(".")[0]
    used = {name.split(".")[0] for name in own(imports(ast.walk(MODULES[module])))} - {room}
    wrong = {name for name in used if LEVEL[name] >= LEVEL[room]}
    assert not wrong, f"vitrun.{module} imports {', '.join(sorted(wrong))}"


def test_the_readers_of_originals_know_nothing_of_the_runner():
    for module in (name for name in MODULES if name.startswith("data.originals.")):
        wrong = {n for n in own(imports(ast.walk(MODULES[module]))) if not n.startswith("data.originals.")}
        assert wrong <= {"mistakes", "data.files", "data.folders"}, (
            f"vitrun.{module} imports {', '.join(sorted(wrong))}"
        )


def test_no_module_waits_for_itself_on_import():
    graph = {name: own(imports(at_the_top(tree))) - {name} for name, tree in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


def test_one_room_knows_each_outside_thing():
    for module, tree in MODULES.items():
        outside = {name.split(".")[0] for name in imports(ast.walk(tree))}
        wrong = {name for name in outside & OWNERS.keys() if module.split(".")[0] not in OWNERS[name]}
        assert not wrong, f"vitrun.{module} imports {', '.join(sorted(wrong))}"


def test_one_room_knows_how_processes_talk():
    overrides = {
        name: {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} for name, tree in MODULES.items()
    }
    named = {
        name: {a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
        for name, tree in MODULES.items()
    }
    knows = {name for name in MODULES if {"distributed", "torch.distributed"} & (overrides[name] | named[name])}
    assert knows == {"ranks"}


@pytest.mark.parametrize("room", LIGHT)
def test_what_the_command_line_needs_imports_nothing_slow_by_itself(room):
    assert not {name.split(".")[0] for name in imports(at_the_top(MODULES[room]))} & SLOW


def test_the_command_line_starts_without_torch():
    code = "import sys, vitrun.cli, vitrun.run; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not SLOW & set(loaded) and "vitrun" in loaded


def test_a_recipe_is_checked_without_torch():
    code = (
        "import sys; from vitrun import origins, run, start; recipe = start.load('pretrain', ['seed=1']);"
        "origins.show('pretrain', [], recipe); run.name('pretrain', recipe); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not (SLOW - {"hydra", "omegaconf"}) & set(loaded)
