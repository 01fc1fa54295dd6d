"""Stock Hydra composes conf/ with the overrides that vitrun takes; docs/config.md lists the differences."""

import pickle
import re
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from helpers.overrides import SCRATCH
from vitrun.config import compose, provenance, resolve, unused
from vitrun.recipes import RECIPES, composition, hydra_source, options, tables, trees

README = Path(__file__).parents[2] / "README.md"
COMMAND = re.compile(r"^(?:\$ )?(?:torchrun .*-m )?vitrun (\w+)((?: [^#|`\n]*)?)", re.MULTILINE)
TYPED = [(command, shlex.split(text)) for command, text in COMMAND.findall(README.read_text(encoding="utf-8"))]
COMMANDS = [
    (command, arguments)
    for command, arguments in TYPED
    if command in RECIPES and all("=" in argument for argument in arguments)
]
TAKEN = [
    ("pretrain", ["protocol=augreg", "model=vit_b16", "data=imagenet", "augment=light1", "optim.lr=0.1"]),
    ("pretrain", ["protocol=paper_table3", "model=vit_l16", "data=imagenet21k", "data.path=x", "epochs=30"]),
    ("pretrain", ["protocol=masked", "model=vit_b16", "objective=simmim", "optim=adam"]),
    ("pretrain", ["protocol=small", "data=cifar10", "model.positions=2d", "fewshot.shots=[1,5]", "clip=null"]),
    ("finetune", [SCRATCH, "protocol=bit_hyperrule", "data=imagenet", "augment=none"]),
    ("finetune", [SCRATCH, "protocol=vpt_vtab", "data=vtab/pets", "data.root=x", "optim=sgd"]),
    ("dedup", ["data=cifar10", "distance=3"]),
]


def compose_with_stock_hydra(command: str, overrides: list[str]) -> dict:
    """Return what hydra.compose makes of a command's file and overrides."""
    with initialize_config_dir(str(composition.CONF), version_base="1.3"):
        return OmegaConf.to_container(hydra_compose(command, overrides), resolve=True)


@pytest.fixture
def quick_hydra(monkeypatch):
    """Parse each file once, and leave out Hydra's own groups (logging, help ...): they take most of composing."""

    @cache
    def parse(file: str) -> bytes:
        return pickle.dumps(load(file))

    load, store = OmegaConf.load, ConfigStore.instance().repo["hydra"]
    bare = replace(store["config.yaml"], node=OmegaConf.structured(HydraConf(defaults=[])))
    monkeypatch.setattr(OmegaConf, "load", lambda file: pickle.loads(parse(file.name)))
    monkeypatch.setitem(store, "config.yaml", bare)


def add_brackets(command: str, override: str) -> str:
    """Return an override with the brackets that vitrun does not require around a list."""
    key, _, value = override.partition("=")
    return f"{key}=[{value}]" if options.is_list(command, key) and not value.startswith("[") else override


@pytest.mark.parametrize(
    "command, overrides", COMMANDS, ids=[" ".join([name, *overrides]) for name, overrides in COMMANDS]
)
def test_stock_hydra_composes_the_commands_of_the_readme(command, overrides):
    tree = compose_with_stock_hydra(command, [add_brackets(command, override) for override in overrides])
    pairs = compose.parse_overrides(command, overrides)
    given = {key for key in pairs if key not in tables.list_groups(command)}
    assert given <= set(trees.iterate_keys(tree))


def test_the_readme_has_commands_to_compose():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command, overrides", TAKEN, ids=[" ".join(overrides) for _, overrides in TAKEN])
def test_stock_hydra_composes_the_same_but_for_values_by_model(command, overrides):
    tree = compose_with_stock_hydra(command, overrides)
    pairs = compose.parse_overrides(command, overrides)
    ours = compose.compose_tree(command, pairs)
    by_model = compose.choose_layers(command, pairs)
    for key in trees.iterate_keys(ours):
        chosen = any(key.startswith(f"{group}.") for group in by_model.choices if group not in pairs)
        if key not in by_model.values and not chosen:
            assert trees.get_value(ours, key) == trees.get_value(tree, key), key


@pytest.mark.parametrize("group", ["protocol", "augment", "model", "data", "optim", "objective"])
@pytest.mark.usefixtures("quick_hydra")
def test_every_choice_of_a_group_is_one_of_stock_hydra(group):
    with initialize_config_dir(str(composition.CONF), version_base="1.3"):
        for command in ("pretrain", "finetune"):
            for name in tables.list_groups(command).get(group, ()):
                OmegaConf.to_container(hydra_compose(command, [f"{group}={name}"]), resolve=True)


def test_files_are_read_as_omegaconf_reads_them():
    source = hydra_source.package_source()("main", f"vitrun://{composition.CONF}")
    for file in composition.CONF.rglob("*.yaml"):
        content = OmegaConf.load(file)  # which refuses a key that stands twice
        assert source.load_config(file.relative_to(composition.CONF).as_posix()).config == content, file


ACCEPTANCE = ["protocol=augreg", "model=vit_b16", "data=imagenet", "optim.lr=0.1", "augment=none"]


def test_a_run_and_its_provenance_compose_at_most_three_trees():
    composition.compose_cached.cache_clear()
    recipe = resolve.resolve_recipe("pretrain", ACCEPTANCE)
    unused.check_unused("pretrain", [(ACCEPTANCE, recipe)])
    provenance.format_config("pretrain", ACCEPTANCE, recipe)
    lines = provenance.describe_deviations("pretrain", ACCEPTANCE, recipe)
    assert lines[1:] == [
        "differs from the recipe: optim.lr=0.1 (there 0.001)",
        "a published variant: augment=none (there medium2)",
    ]
    assert composition.compose_cached.cache_info().misses <= 3
