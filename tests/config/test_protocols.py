"""A run takes the recipe file of its protocol, model and data, or is refused if there is none."""

import json

import pytest

from helpers.overrides import SCRATCH, list_deviations
from vitrun.config import protocols, provenance, resolve
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables, trees

NO_RECIPE = [  # overrides, the choices that have recipes, other protocols with a recipe
    ("pretrain", ["protocol=better_vit", "model=vit_b16", "data=imagenet"], "imagenet (vit_s16)", "augreg or masked"),
    ("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet21k"], "imagenet (vit_s16)", "augreg"),
    ("pretrain", ["protocol=augreg", "data=cifar10"], "imagenet, imagenet21k", "masked or scaling_vit or small"),
    ("pretrain", ["protocol=paper_table3"], "imagenet21k, imagenet_w21, jft300m (vit_b16, ", "masked or scaling_vit"),
    ("pretrain", ["protocol=paper_table3", "data=jft300m", "model=vit_s16"], "bit_r200x3)", "masked or scaling_vit"),
    ("finetune", ["protocol=public_code"], "cifar10, cifar100, flowers102, imagenet, pets", "quick"),
    ("finetune", ["protocol=paper_table4", "data=folder"], "cifar10, cifar100, flowers102, ", "bit_hyperrule or quick"),
    ("finetune", ["protocol=paper_table4", "data=vtab/pets"], "cifar10, ", "bit_hyperrule or paper_vtab or quick or "),
    ("finetune", ["protocol=paper_table2", "data=cifar10"], "imagenet", "bit_hyperrule or paper_table4 or public_code"),
    (
        "finetune",
        ["protocol=paper_vtab", "data=cifar10"],
        "vtab, vtab/*",
        "bit_hyperrule or paper_table4 or public_code",
    ),
    ("finetune", ["protocol=vpt_vtab", "data=cifar10", "data.path=/"], "vtab, vtab/*", "bit_hyperrule or paper_table4"),
    ("finetune", ["protocol=bit_hyperrule", "data=vtab", "data.root=/"], "vtab/*, cifar10, ", "paper_vtab or quick"),
    ("finetune", ["protocol=bit_hyperrule", "data=shards"], "vtab/*, cifar10, ", "quick"),
]  # fmt: skip


@pytest.mark.parametrize(
    "command, overrides, choices, others", NO_RECIPE, ids=[" ".join(overrides) for _, overrides, *_ in NO_RECIPE]
)
def test_a_chosen_protocol_without_a_recipe_is_refused_with_those_that_have_one(command, overrides, choices, others):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe(command, overrides)
    assert choices in str(error.value) and f"another protocol, {others}" in str(error.value)
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, "protocol")


@pytest.mark.parametrize("command, name", [("pretrain", "bit_hyperrule"), ("finetune", "augreg")])
def test_a_protocol_of_another_command_is_refused_with_those_of_this_one(command, name):
    with pytest.raises(UserError, match=", ".join(tables.list_groups(command)["protocol"])) as error:
        resolve.resolve_recipe(command, [f"protocol={name}"])
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, "protocol")


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_every_protocol_has_recipes_and_every_folder_of_recipes_a_protocol(command):
    assert all(protocols.describe_recipes(command, protocol) for protocol in tables.list_groups(command)["protocol"])
    folders = {path.split("/")[0] for path in tables.list_group_files(f"recipe/{command}")}
    assert folders <= set(tables.list_groups(command)["protocol"])


@pytest.mark.parametrize("data", ["folder", "parquet"])
def test_bit_hyper_rule_on_own_images_names_the_part_of_the_rule_it_applies(data):
    overrides = [SCRATCH, f"data={data}", "data.path=/", "protocol=bit_hyperrule"]
    recipe = resolve.resolve_recipe("finetune", overrides)
    assert (recipe.steps, recipe.drops, recipe.data.crop) == (500, (200, 300, 400), "square")
    assert (
        "its part for under 20,000 training images, whatever their number here"
        in list_deviations("finetune", overrides)[0]
    )


# Values that a protocol, most of a paper or of public code, has for one model only: init, protocol, data, values.
FOR_ONE = [
    ("random:vit_b16", "public_code", "cifar10", {"optim.lr": 0.01, "dropout": 0}),
    ("random:vit_b32", "public_code", "cifar10", {"optim.lr": 0.03, "dropout": 0}),
    ("random:vit_b16", "public_code", "cifar100", {"optim.lr": 0.03}),
    ("timm:vit_base_patch16_224.orig_in21k", "public_code", "cifar10", {"optim.lr": 0.01}),
    *((f"random:{model}", "public_code", data, {"dropout": 0.1, "optim.lr": 0.03})
      for model in ("vit_l16", "vit_h14", "r50_vit_b16", "r50_vit_l32")
      for data in ("cifar10", "cifar100", "imagenet")),
    ("random:vit_l16", "public_code", "pets", {"dropout": 0}),  # big_vision's has no dropout
    *((f"random:{model}", "paper_table4", "imagenet", {"grid": (0.003, 0.01, 0.03, 0.06)})
      for model in tables.list_group_files("model") if model.startswith(("bit_", "r50_", "r26_", "r_"))),
    ("timm:resnetv2_50x1_bit.goog_in21k", "paper_table4", "imagenet", {"grid": (0.003, 0.01, 0.03, 0.06)}),
    ("random:vit_l16", "paper_table4", "imagenet", {"grid": (0.003, 0.01, 0.03)}),
    ("random:r50_vit_b16", "paper_table4", "pets", {"grid": (0.001, 0.003, 0.01, 0.03)}),
    ("random:vit_h14", "paper_table2", "imagenet", {"res": 518, "ema": 0.9999}),
    ("random:vit_l16", "paper_table2", "imagenet", {"res": 512}),
    ("random:vit_h14", "paper_table4", "pets", {"res": 378, "grid": (0.001, 0.003, 0.01, 0.03), "steps": 500}),
    ("random:vit_h14", "paper_table4", "imagenet", {"res": 378, "grid": (0.003, 0.01, 0.03), "dropout": None}),
    *(("random:vit_h14", "public_code", data, {"res": 378}) for data in ("cifar100", "imagenet", "flowers102")),
    *((f"timm:{tag}", "quick_boxes", "boxes", {"detect.model": detector, "optim.lr": lr})  # a ResNet takes no tokens
      for tag, detector, lr in (("resnet50.tv_in1k", "detr_r50", 1e-4), ("resnet101.a1h_in1k", "detr_r101", 1e-4),
                                ("vit_tiny_patch16_224.augreg_in21k", "yolos_nano", 1e-3))),
]  # fmt: skip


@pytest.mark.parametrize("weights, protocol, data, values", FOR_ONE, ids=["-".join(case[:3]) for case in FOR_ONE])
def test_fine_tuning_takes_the_values_published_for_the_model_of_its_weights(weights, protocol, data, values):
    recipe = resolve.resolve_recipe("finetune", [f"init={weights}", f"protocol={protocol}", f"data={data}"])
    tree = trees.to_plain_tree(recipe)
    assert {key: trees.get_value(tree, key) for key in values} == {
        k: trees.to_plain_value(v) for k, v in values.items()
    }


def test_values_by_model_do_not_apply_where_the_objective_chooses_another_model():
    small, clip = (resolve.resolve_recipe("pretrain", overrides) for overrides in ([], ["objective=contrastive"]))
    assert (small.model.name, small.optim.lr, clip.model.name, clip.optim.lr) == ("vit_nano8", 4e-3, "clip_nano", 1e-3)


def test_values_by_model_apply_to_the_model_of_a_run_and_of_a_file_of_weights(tmp_path):
    file = tmp_path / "ViT-B_16.npz"
    file.write_bytes(b"weights")
    overrides = ["protocol=public_code", "data=cifar10", f"runs={tmp_path}"]
    assert resolve.resolve_recipe("finetune", [f"init={file}", *overrides]).optim.lr == 0.01
    for name, recipe in (
        ("pretrain-one", {"model": tables.read_row("model", "vit_b16")}),
        ("finetune-two", {"init": "pretrain-one", "model": {"name": "vit_b16"}}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(
            json.dumps({"command": name.split("-")[0], "data": {"name": "cifar10"}, **recipe})
        )
        (tmp_path / name / "result.json").write_text(json.dumps({"result": {}, "finished": 0.0}))
        assert resolve.resolve_recipe("finetune", [f"init={name}", *overrides]).optim.lr == 0.01


def test_the_first_lines_and_cfg_name_the_file_with_values_for_the_model_of_the_weights():
    overrides = ["init=random:vit_b16", "protocol=public_code", "data=cifar10"]
    file = "conf/recipe/finetune/public_code/cifar10.yaml"
    (line,) = list_deviations("finetune", overrides)
    assert line.startswith(f"recipe: {file} (Public code: CIFAR-10")
    assert list_deviations("finetune", [*overrides, "optim.lr=0.03"])[1:] == [
        "differs from the recipe: optim.lr=0.03 (there 0.01)"
    ]
    shown = provenance.format_config("finetune", overrides, resolve.resolve_recipe("finetune", overrides)).splitlines()
    assert [line.split("# ")[1] for line in shown if line.startswith("optim.lr=0.01 ")] == [f"{file}, by_model"]
