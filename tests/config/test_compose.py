"""Overrides make recipes: every file in conf/ composes."""

import shutil

import hydra
import pytest
import yaml
from hydra import initialize_config_dir
from omegaconf import OmegaConf, open_dict

from helpers.overrides import DATA_ROWS, SCRATCH, SUITES, add_required_overrides
from vitrun.config import compose, protocols, resolve
from vitrun.errors import UserError
from vitrun.recipes import RECIPES, composition, tables, trees
from vitrun.runs import lookup

TO_EVALUATE = [name for name, row in DATA_ROWS.items() if row["source"] == "files" and row["train"] is None]
CAPTIONED = [name for name, row in DATA_ROWS.items() if row["source"] in ("captions", "pairs")]  # without labels
CHOICES = [
    (command, group, name)
    for command in RECIPES
    for group, names in tables.list_groups(command).items()
    for name in names
    if command != "data"  # data looks into folders
    if command in ("pretrain", "finetune", "eval")
    or group not in ("data", "against")  # fewshot and dedup compose these like pretrain
    if group != "unlabelled"  # which is composed like data, and needs a teacher
    if (command == "eval" or group == "against" or name not in (*TO_EVALUATE, *CAPTIONED))
    and (command == "finetune" or name not in SUITES)
]
RECIPE_FILES = sorted(path.relative_to(composition.CONF) for path in composition.CONF.glob("recipe/*/**/*.yaml"))


@pytest.mark.parametrize("command", RECIPES)
def test_every_command_has_a_recipe_without_optional_overrides(command, tmp_path):
    assert type(resolve.resolve_recipe(command, add_required_overrides(command, [], tmp_path))) is RECIPES[command]


@pytest.mark.parametrize("command, group, name", CHOICES)
def test_every_file_of_every_group_composes_into_a_sound_recipe(command, group, name, tmp_path):
    more = ["res=224"] * (group == "model")
    objectives = {"clip": ["objective=contrastive"], "detector": ["objective=detection", "data=boxes"]}
    more += objectives.get(tables.read_row("model", name)["kind"], []) if group == "model" else []
    more += ["data=boxes"] * (group == "objective" and name == "detection")
    more += ["head=new"] * (group == "protocol" and name == "fixres")  # the weights here are untrained
    more += ["data=coco"] * (group == "protocol" and name in ("yolos", "detr", "quick_boxes"))
    if (
        "data=coco" not in more
        and group == "protocol"
        and "*" not in (own := composition.read_config_file(f"protocol/{name}").get("for_data", []))
    ):
        model = ["model=vit_s16"] if name in ("augreg", "better_vit") else ["model=vit_b16"]
        more += ["data=vtab/pets"] if own and "vtab" in own else ["data=imagenet", *model * (command == "pretrain")]
    recipe = resolve.resolve_recipe(command, add_required_overrides(command, [f"{group}={name}", *more], tmp_path))
    folder = tables.group_folder(group)
    chosen, row = getattr(recipe, group), composition.read_config_file(f"{folder}/{name}")
    row = row if group == "protocol" else tables.read_row(folder, name)
    tags = {"data": "source", "augment": "randaugment"}
    assert (chosen if group == "protocol" else getattr(chosen, tags.get(folder, "kind"))) in row.values()
    assert tables.list_groups(command)[group][name], "the first line is a comment that describes the file"
    if folder == "data" or group == "model" and chosen.kind != "timm":
        assert chosen.name == (tmp_path.name if name in tables.UNNAMED_ROWS else name)


@pytest.mark.parametrize("command", ["pretrain", "finetune", "fewshot", "dedup"])
@pytest.mark.parametrize("name", TO_EVALUATE)
def test_nothing_is_trained_on_a_set_for_evaluation(command, name, tmp_path):
    with pytest.raises(UserError, match=f"data={name}: is for vitrun eval only"):
        resolve.resolve_recipe(command, add_required_overrides(command, [f"data={name}"], tmp_path))


@pytest.mark.parametrize("command", ["pretrain", "finetune", "fewshot"])
@pytest.mark.parametrize("name", CAPTIONED)
def test_captions_are_no_labels(command, name, tmp_path):
    with pytest.raises(UserError, match="has captions and no labels"):
        resolve.resolve_recipe(command, add_required_overrides(command, [f"data={name}"], tmp_path))


@pytest.mark.parametrize("file", RECIPE_FILES, ids=str)
def test_every_recipe_file_is_applied_to_its_protocol_data_and_models(file, tmp_path):
    path, (_, command, *names) = file.with_suffix("").as_posix(), file.with_suffix("").parts
    protocol, *names = names if command != "fewshot" else ("", *names)
    chosen = {"protocol": protocol, "data": "/".join(names)}
    models = protocols.list_models(path)
    assert set(models) <= tables.list_group_files("model").keys()
    for model in models or ["vit_b16"]:
        kind = tables.read_row("model", model)["kind"]
        naming = chosen | ({"model": model} if command == "pretrain" else {})
        naming |= {"objective": "detection"} if command == "pretrain" and kind == "detector" else {}
        overrides = add_required_overrides(
            command, [f"{key}={value}" for key, value in naming.items() if value], tmp_path
        )
        if command == "finetune":
            overrides = [f"init=random:{model}", *(override for override in overrides if override != SCRATCH)]
        recipe = resolve.resolve_recipe(command, overrides)
        layers = compose.choose_layers(
            command, compose.parse_overrides(command, overrides), lookup.model_row_of(recipe)
        )
        files = [file.path for file in compose.list_files(command, layers.choices)]
        assert path == [file for file in files if file.startswith("recipe/")][-1]
        named = tmp_path.name if chosen["data"] in tables.UNNAMED_ROWS else chosen["data"]
        assert recipe.data.name == named
        tree = trees.to_plain_tree(recipe)
        for key, value in layers.values.items():
            assert trees.format_value(trees.get_value(tree, key)) == trees.format_value(yaml.safe_load(value)) or float(
                trees.get_value(tree, key)
            ) == float(value)


@pytest.mark.parametrize("data", ["shapes", "cifar10", "imagenet"])  # whose files give steps, epochs, epochs
@pytest.mark.parametrize("override", ["steps=7", "epochs=7", "examples=7"])
def test_a_duration_override_replaces_the_duration_of_the_files(data, override):
    recipe = resolve.resolve_recipe("pretrain", [f"data={data}", override, "warmup=0"])
    durations = {unit: getattr(recipe, unit) for unit in ("steps", "epochs", "examples")}
    assert {unit: value for unit, value in durations.items() if value is not None} == {override.split("=")[0]: 7}


def test_the_order_of_overrides_does_not_matter():
    overrides = ["data=cifar10", "optim=sgd", "optim.lr=0.5", "epochs=2"]
    assert resolve.resolve_recipe("pretrain", overrides) == resolve.resolve_recipe("pretrain", overrides[::-1])


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """Return a copy of conf/ that is composed in its place."""
    shutil.copytree(composition.CONF, tmp_path / "conf")
    monkeypatch.setattr(composition, "CONF", tmp_path / "conf")
    return tmp_path / "conf"


def test_a_row_must_have_the_name_of_its_file_and_an_invalid_one_is_named(conf):
    copy = conf / "model" / "mine.yaml"
    shutil.copy(conf / "model" / "vit_nano8.yaml", copy)
    with pytest.raises(UserError, match="conf/model/mine.yaml has the name vit_nano8: write name: mine"):
        resolve.resolve_recipe("pretrain", ["model=mine"])
    copy.write_text(copy.read_text() + "extra: 1\n")
    with pytest.raises(UserError, match="conf/model/mine.yaml is not valid: .*extra"):
        tables.load_model_rows()


@pytest.mark.parametrize("group, parent", [("model", "vit_nano8"), ("data", "digits")])
def test_a_row_may_inherit_from_another_wherever_it_is_read(conf, group, parent):
    (conf / group / "_half.yaml").write_text(f"defaults: [{parent}, _self_]\n")
    (conf / group / "mine.yaml").write_text("defaults: [_half, _self_]\nname: mine\n")
    row = tables.read_row(group, parent) | {"name": "mine"}
    assert tables.read_row(group, "mine") == tables.read_rows(group)["mine"] == row
    assert "_half" not in tables.list_group_files(group)
    if group == "model":
        assert resolve.resolve_recipe("pretrain", ["model=mine"]).model == tables.load_model_row("mine")
        recipe = resolve.resolve_recipe("finetune", ["init=random:mine", "res=32"])
        assert lookup.find_architecture(recipe.init, recipe.runs) == tables.load_model_rows()["mine"]
    else:
        assert resolve.resolve_recipe("eval", [SCRATCH, "data=mine"]).data.name == "mine"


def test_composing_equals_stock_hydra_and_restores_its_state():
    ours = composition.compose("pretrain", ["data=cifar10", "optim=sgd", "optim.lr=0.5"])
    with initialize_config_dir(str(composition.CONF), version_base="1.3"):
        stock = hydra.compose("pretrain", ["data=cifar10", "optim=sgd", "optim.lr=0.5"], return_hydra_config=True)
    assert stock.hydra.launcher and stock.hydra.job_logging, "Hydra's own groups"
    with open_dict(stock):
        del stock.hydra
    assert OmegaConf.to_container(stock, resolve=True) == ours
