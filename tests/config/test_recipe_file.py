"""``recipe=FILE``: values that replace those of conf/ and are replaced by other overrides."""

import pytest

from helpers.overrides import SCRATCH, list_deviations
from vitrun.config import provenance, resolve
from vitrun.config.overrides import expand_sweep
from vitrun.errors import ExitCode, UserError

MINE = """
model: vit_ti16
data: cifar10
augment: light1
batch: 64
epochs: 5
optim:
  lr: 2e-3
  betas: [0.9, 0.95]
runs: "a, b"
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Change to an empty folder; return a function that writes a recipe file and returns its override."""
    monkeypatch.chdir(tmp_path)

    def write(text: str = MINE) -> str:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return "recipe=mine.yaml"

    return write


def test_a_recipe_file_has_the_values_of_the_same_overrides(mine):
    overrides = ["model=vit_ti16", "data=cifar10", "augment=light1", "batch=64", "epochs=5", "optim.lr=2e-3"]
    overrides += ["optim.betas=[0.9,0.95]", "runs='a, b'"]
    assert resolve.resolve_recipe("pretrain", [mine()]) == resolve.resolve_recipe("pretrain", overrides)


def test_overrides_replace_values_of_a_recipe_file_and_its_duration_in_another_unit(mine):
    recipe = resolve.resolve_recipe("pretrain", ["batch=32", mine(), "steps=9", "warmup=0", "augment=none"])
    assert (recipe.batch, recipe.steps, recipe.epochs, recipe.augment.layers) == (32, 9, None, 0)
    assert recipe.optim.lr == 2e-3


def test_cfg_and_the_first_lines_name_the_recipe_file(mine):
    overrides = [mine(), "batch=32"]
    shown = provenance.format_config("pretrain", overrides, resolve.resolve_recipe("pretrain", overrides))
    sources = {line.partition("=")[0]: line.rpartition("  # ")[2] for line in shown.splitlines()}
    assert sources["optim.lr"] == sources["model"] == sources["epochs"] == "mine.yaml"
    assert (sources["batch"], sources["clip"]) == ("command line", "conf/pretrain.yaml")
    lines = list_deviations("pretrain", overrides)
    assert lines[0].endswith(", changed by mine.yaml")
    assert "differs from the recipe: optim.lr=0.002 (there 0.001)" in lines


def test_a_sweep_over_recipe_files_has_a_job_for_each():
    assert expand_sweep("pretrain", ["recipe=a.yaml,b.yaml"]) == [["recipe=a.yaml"], ["recipe=b.yaml"]]


WRONG = [  # content, the option at fault, part of the message
    ("btach: 3", "btach", "mine.yaml: Unknown option 'btach'. Did you mean batch"),
    ("model: vit_b61", "model", "mine.yaml: Unknown model 'vit_b61'"),
    ("optim: {momentum: 0.9}", "optim.momentum", "mine.yaml: No option 'optim.momentum'"),
    ("seed: [1, 2", "recipe", "is not YAML"),
    ("- seed", "recipe", "has no options"),
    ("defaults: [/recipe/pretrain/small/cifar10]", "recipe", "has a defaults list"),
    ("protocol: bit_hyperrule", "protocol", "is for vitrun finetune"),
]


@pytest.mark.parametrize("content, option, message", WRONG, ids=[content for content, *_ in WRONG])
def test_a_wrong_recipe_file_is_refused_with_its_name(mine, content, option, message):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("pretrain", [mine(content)])
    assert (error.value.option, error.value.status) == (option, ExitCode.COMMAND)
    assert message in str(error.value)


def test_a_missing_recipe_file_is_refused_with_the_option_for_published_recipes():
    with pytest.raises(UserError, match="protocol=NAME chooses a published recipe") as error:
        resolve.resolve_recipe("finetune", [SCRATCH, "recipe=paper_table4"])
    assert (error.value.option, error.value.status) == ("recipe", ExitCode.COMMAND)
