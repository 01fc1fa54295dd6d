"""Rooms import rooms below them only, torch is imported late, and each outside package has its owners."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vitrun
from helpers.paths import ROOT
from vitrun.cli.app import COMMAND_HELP
from vitrun.commands import COMMAND_MODULES as COMMANDS

PACKAGE = Path(vitrun.__file__).parent
ROOMS = (  # from high to low: a room imports those after it only
    "cli",
    "api",
    "commands",
    "config",
    "objectives",
    "probes",
    "engine",
    "runs",
    "models",
    "data",
    "papers",
    "plots",
    "recipes",
    "runtime",
    "errors",
)
LIGHT = ("cli", "api", "config", "recipes", "runs", "papers", "errors")  # rooms that import nothing slow by themselves
SLOW = {"torch", "torchvision", "timm", "datasets", "huggingface_hub", "sklearn", "hydra", "omegaconf", "matplotlib"}
HYDRA = ("recipes.composition", "recipes.hydra_source")  # below config: rows of models and data are read with Hydra too
OWNERS = {  # outside package: the folders or modules that may import it
    "typer": ("cli",),
    "hydra": HYDRA,
    "omegaconf": HYDRA,
    "timm": ("models",),
    "torchvision": ("data.transforms.randaugment", "models.torchvision_weights"),
    "datasets": ("data",),
    "h5py": ("data.sources",),
    "huggingface_hub": ("data.sources.hub", "models", "runs.init_resolution", "runtime.hub_bars"),
    "scipy": ("data.sources.vtab", "objectives.matching"),
    "pycocotools": ("engine.coco_metrics",),
    "matplotlib": ("plots",),
    "wandb": ("runs.tracking",),
    "mlflow": ("runs.tracking",),
    "trackio": ("runs.tracking",),
    "submitit": ("runtime.slurm",),
}
DISTRIBUTED = (  # may use torch.distributed
    "runtime.distributed",
    "runtime.fsdp",
    "runtime.rank_store",
    "runtime.replicas",
    "runtime.sharded_files",
    "runtime.shards",
)


def name_of(file: Path) -> str:
    """Return a module's dotted name without that of the package."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").rstrip(".")


MODULES = {name_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.rglob("*.py"))}


@cache
def names_in(module: str) -> set[str]:
    """Return the dotted names that a module imports, anywhere in it."""
    return imported_names(ast.walk(MODULES[module]))


def imported_names(nodes) -> set[str]:
    """Return the dotted names that import statements name; ``from a import b`` is a.b where that is a module."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name.removeprefix("vitrun.") in MODULES else node.module for name in targets}
    return names


def nodes_run_on_import(tree: ast.Module) -> list[ast.AST]:
    """Return all nodes that run on import: those outside functions."""
    nodes, todo = [], [tree]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                nodes.append(node)
                todo.append(node)
    return nodes


def package_modules(names: set[str]) -> set[str]:
    """Return the modules of the package among ``names``, without the prefix ``vitrun.``."""
    return {name.removeprefix("vitrun.") for name in names if name.startswith("vitrun.")}


def within(module: str, folders: tuple[str, ...]) -> bool:
    """Return whether a module is one of ``folders`` or lies in one."""
    return any(module == folder or module.startswith(f"{folder}.") for folder in folders)


def test_the_rooms_are_the_folders_of_the_package():
    assert {name.split(".")[0] for name in MODULES if name} == {*ROOMS, "__main__"}
    files = {file.name for file in PACKAGE.glob("*.py")}
    assert files == {"__init__.py", "__main__.py", "errors.py"}


def test_every_command_has_a_module():
    assert all(f"commands.{COMMANDS.get(command, command)}" in MODULES for command in COMMAND_HELP)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room):
    for module in (name for name in MODULES if within(name, (room,))):
        used = {name.split(".")[0] for name in package_modules(names_in(module))} - {room}
        wrong = used - set(ROOMS[ROOMS.index(room) + 1 :])
        assert not wrong, f"vitrun.{module} imports {', '.join(sorted(wrong))}"


def test_the_readers_of_originals_do_not_import_the_runner():
    folder = "data.sources.vtab.originals"
    allowed = {"errors", "data.sources.messages", "data.sources.scan", "runtime.files"}
    for module in (name for name in MODULES if name.startswith(f"{folder}.")):
        wrong = {name for name in package_modules(names_in(module)) if not name.startswith(folder)} - allowed
        assert not wrong, f"vitrun.{module} imports {', '.join(sorted(wrong))}"


def test_imports_have_no_cycle():
    graph = {
        name: package_modules(imported_names(nodes_run_on_import(tree))) - {name} for name, tree in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


@pytest.mark.parametrize("package", OWNERS)
def test_each_outside_package_is_imported_by_its_owners_only(package):
    used = {module: {name.split(".")[0] for name in names_in(module)} for module in MODULES}
    users = {module for module, packages in used.items() if package in packages}
    assert users and not {module for module in users if not within(module, OWNERS[package])}


def test_only_the_modules_of_ranks_use_torch_distributed():
    def uses_distributed(tree: ast.Module) -> bool:
        nodes = list(ast.walk(tree))
        froms = {f"{n.module}.{alias.name}" for n in nodes if isinstance(n, ast.ImportFrom) for alias in n.names}
        named = froms | {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
        named |= {ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute)}
        return any(name.startswith("torch.distributed") for name in named)

    assert tuple(name for name, tree in MODULES.items() if uses_distributed(tree)) == DISTRIBUTED


@pytest.mark.parametrize("room", LIGHT)
def test_rooms_that_the_command_line_needs_import_nothing_slow(room):
    for module in (name for name in MODULES if within(name, (room,))):
        slow = {name.split(".")[0] for name in imported_names(nodes_run_on_import(MODULES[module]))} & SLOW
        assert not slow, f"vitrun.{module} imports {', '.join(sorted(slow))}"


def test_the_command_line_starts_without_torch():
    code = "import sys, vitrun.cli.app, vitrun.runs.run; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not SLOW & set(loaded) and "vitrun" in loaded


def test_a_recipe_is_checked_without_torch():
    code = (
        "import sys; from vitrun.config import provenance, resolve; from vitrun.runs import run;"
        "recipe = resolve.resolve_recipe('pretrain', ['seed=1']);"
        "provenance.format_config('pretrain', [], recipe); run.run_name('pretrain', recipe); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not (SLOW - {"hydra", "omegaconf"}) & set(loaded)


def test_no_test_file_imports_another():
    files = sorted((ROOT / "tests").rglob("*.py"))
    tests = [file for file in files if file.name.startswith("test_") or file.name == "conftest.py"]
    names = {file.stem for file in tests}
    for file in tests:
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        assert not {part for name in imported_names(nodes) for part in name.split(".")} & names, file
