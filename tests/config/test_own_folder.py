"""Users' config files: which folder is searched before vitrun's, and what its files may do."""

import pytest

from vitrun.config import own_files, provenance, resolve
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import Model, composition, tables
from vitrun.runs import lookup
from vitrun.runtime import environment

MODEL = "# A tiny ViT\ndefaults: [_vit_ti, _self_]\nname: mine\npatch: 8\ndepth: 2\n"
FOREIGN = "_target_: torchvision.models.resnet18\nclasses: ${data.classes}\n"  # of another Hydra application


PLANTED = ["_target_: os.system\n_args_: ['touch ran']\n", "x: !!python/object/apply:os.system ['touch ran']\n"]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Change to a folder whose conf/ has a model; return a function that writes files into it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(environment.CONFIG_FOLDER, raising=False)

    def write(path: str, text: str, folder: str = "conf"):
        file = tmp_path / folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    write("model/mine.yaml", MODEL)
    return write


def test_a_model_of_ones_own_inherits_from_vitruns_and_is_found_wherever_a_model_is_named(workplace):
    model = resolve.resolve_recipe("pretrain", ["model=mine"]).model
    assert (model.width, model.depth) == (192, 2)
    assert tables.list_groups("pretrain")["model"]["mine"] == "A tiny ViT"
    assert tables.load_model_rows()["mine"] == tables.load_model_row("mine") == model
    recipe = resolve.resolve_recipe("finetune", ["init=random:mine", "res=32"])
    assert lookup.find_architecture(recipe.init, recipe.runs) == model


def test_a_named_folder_replaces_the_default_one_and_an_empty_name_disables_both(workplace, tmp_path, monkeypatch):
    workplace("model/other.yaml", MODEL.replace("mine", "other"), "configs of 'mine'")
    monkeypatch.setenv(environment.CONFIG_FOLDER, "configs of 'mine'")
    assert resolve.resolve_recipe("pretrain", ["model=other"]).model.name == "other"
    assert "mine" not in tables.list_groups("pretrain")["model"]
    monkeypatch.setenv(environment.CONFIG_FOLDER, "")
    assert composition.config_folders() == [composition.CONF]


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_named_folder_that_is_missing_or_replaces_a_command_is_refused(workplace, monkeypatch, folder):
    workplace("pretrain.yaml", "defaults: [model: mine]\n", ".")
    monkeypatch.setenv(environment.CONFIG_FOLDER, folder)
    with pytest.raises(UserError) as error:
        composition.config_folders()
    assert (error.value.option, error.value.status) == (environment.CONFIG_FOLDER, 2)


def test_vitruns_own_folder_and_that_of_another_application_are_not_searched(workplace, monkeypatch):
    workplace("config.yaml", "# @package _global_\ndefaults:\n  - model: mine\n")
    assert composition.config_folders() == [composition.CONF]
    monkeypatch.chdir(composition.CONF.parent)
    assert composition.config_folders() == [composition.CONF]


@pytest.mark.parametrize("content", [FOREIGN, "- a list\n", "a: [\n", "# @package _global_\nlr: 1\n", ""])
def test_own_files_that_are_not_rows_are_skipped_and_refused_by_name_if_used(workplace, content):
    workplace("model/foreign.yaml", content)
    workplace("data/foreign.yaml", content)
    rows, errors = tables.load_rows("model", Model)
    assert "mine" in rows and "foreign" not in rows and len(errors) == 1
    assert "./conf/model/foreign.yaml" in str(errors[0])
    assert resolve.resolve_recipe("pretrain", ["model=mine"]).data.name == "shapes"
    with pytest.raises(UserError, match="./conf/model/foreign.yaml"):
        tables.load_model_row("foreign")


@pytest.mark.parametrize("code", PLANTED)
@pytest.mark.parametrize("kind", ["model", "data", "optim", "protocol", "recipe"])
def test_a_file_that_names_code_runs_none_of_it(workplace, tmp_path, code, kind):
    workplace(f"{kind}/planted.yaml" if kind != "recipe" else "planted.yaml", code)
    chosen = f"{kind}=planted" if kind != "recipe" else "recipe=conf/planted.yaml"
    with pytest.raises(UserError, match="planted.yaml") as error:
        resolve.resolve_recipe("pretrain", [chosen])
    assert error.value.status == ExitCode.COMMAND and not (tmp_path / "ran").exists()


def test_a_file_with_the_name_of_vitruns_replaces_it_and_the_first_lines_of_a_run_say_so(workplace):
    workplace("model/vit_nano8.yaml", MODEL.replace("mine", "vit_nano8"))
    workplace("optim/_half.yaml", "lr: 0.5\n")
    for command, overrides in (("pretrain", ["model=vit_nano8"]), ("finetune", ["init=random:vit_nano8"])):
        recipe = resolve.resolve_recipe(command, overrides)
        lines = own_files.describe_replaced_files(command, overrides, recipe)
        assert lines == ["./conf/model/vit_nano8.yaml replaces vitrun's file of that name"]
    assert not own_files.describe_replaced_files(
        "pretrain", ["model=mine"], resolve.resolve_recipe("pretrain", ["model=mine"])
    )


PROTOCOL = "# @package _global_\n# Mine\ncommands: [pretrain]\nfor_data: ['*']\nprotocol: mine\n"


def test_a_protocol_of_ones_own_is_listed_and_composed(workplace):
    workplace("protocol/mine.yaml", PROTOCOL + "batch: 7\n")
    assert tables.list_groups("pretrain")["protocol"]["mine"] == "Mine"
    assert "mine" not in tables.list_groups("finetune")["protocol"]
    overrides = ["model=mine", "protocol=mine"]
    recipe = resolve.resolve_recipe("pretrain", overrides)
    assert recipe.batch == 7
    shown = provenance.format_config("pretrain", overrides, recipe)
    assert any(line.split() == ["batch=7", "#", "./conf/protocol/mine.yaml"] for line in shown.splitlines())


@pytest.mark.parametrize(
    "path, text, override",
    [
        ("model/bad.yaml", MODEL.replace("mine", "bad") + "widht: 3\n", "model=bad"),
        ("model/bad.yaml", MODEL.replace("mine", "bad") + "width: -3\n", "model=bad"),
        ("model/bad.yaml", "a: [\n", "model=bad"),
        ("model/bad.yaml", MODEL, "model=bad"),
        ("model/bad.yaml", MODEL, "init=random:bad"),
        ("model/bad.yaml", MODEL.replace("mine", "bad") + "width: -3\n", "init=random:bad"),
        ("data/bad.yaml", "defaults: [nowhere, _self_]\nname: bad\n", "data=bad"),
        ("optim/bad.yaml", "kind: lamb\n", "optim=bad"),
        ("protocol/bad.yaml", PROTOCOL + "batch: -1\n", "protocol=bad"),
        ("protocol/bad.yaml", PROTOCOL + "bacth: 1\n", "protocol=bad"),
        ("protocol/bad.yaml", "a: [\n", "protocol=bad"),
        ("protocol/bad.yaml", PROTOCOL.replace("[pretrain]", "5"), "protocol=bad"),
        ("protocol/bad.yaml", PROTOCOL.replace("for_data: ['*']\n", ""), "protocol=bad"),
    ],
)
def test_an_error_in_a_file_of_ones_own_names_the_file(workplace, path, text, override):
    workplace(path, text)
    assert resolve.resolve_recipe("pretrain", ["model=mine"])
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune" if override.startswith("init=") else "pretrain", [override])
    assert error.value.status == 2 and "\n" not in str(error.value)
    assert f"./conf/{path}" in str(error.value)


@pytest.mark.parametrize(
    "field, message",
    [
        ("widht: 3", "unknown option 'widht'. Did you mean width?"),
        ("width: -3", "width=-3: must be greater than 0."),
        ("width: much", "width=much: must be an integer."),
        (
            "kind: vitt",
            "kind=vitt: must be one of 'vit', 'bit', 'timm', 'clip_resnet', 'clip', 'igpt', 'resnet', 'detector'.",
        ),
        ("width: 100", "width=100: must be a multiple of model.heads=3."),
    ],
)
def test_a_wrong_field_of_a_row_is_answered_as_a_wrong_override_is(workplace, field, message):
    workplace("model/bad.yaml", MODEL.replace("mine", "bad") + f"{field}\n")
    with pytest.raises(UserError) as error:
        tables.load_model_row("bad")
    assert str(error.value) == f"./conf/model/bad.yaml is not valid: {message}"


@pytest.mark.parametrize(
    "text, message",
    [
        ("name: bad\n", "source is missing."),
        ("defaults: [pets, _self_]\nname: bad\narea: [1]\n", "area=[1]: needs more than 1 value."),
        ("defaults: [pets, _self_]\nname: bad\nflip: 7.5\n", "flip=7.5: must be true or false."),
    ],
)
def test_a_wrong_field_of_a_data_set_is_answered_too(workplace, text, message):
    workplace("data/bad.yaml", text)
    with pytest.raises(UserError) as error:
        tables.load_data_row("bad")
    assert str(error.value) == f"./conf/data/bad.yaml is not valid: {message}"
