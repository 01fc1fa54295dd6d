"""Options that depend on each other or on the data are resolved or refused."""

import re

import pytest

from helpers.overrides import SCRATCH, finetune_overrides
from vitrun.config import probe_recipes, resolve
from vitrun.errors import ExitCode, UserError


def test_an_online_probe_reads_its_data_as_fewshot_does(tmp_path):
    overrides = ["data=shapes", "data.train_images=99", "fewshot.every=5%", "fewshot.data=shapes,digits,cifar10"]
    probes = probe_recipes.resolve_probe_recipes(
        resolve.resolve_recipe("pretrain", [*overrides, f"fewshot.paths=[null,null,{tmp_path}]"])
    )
    assert probes["shapes"].data.train_images == 99 and probes["shapes"].view.crop == 0.875
    assert probes["digits"].view.crop == 1 and not probes["digits"].view.antialias
    assert probes["cifar10"].data.path == tmp_path
    assert list(
        probe_recipes.resolve_probe_recipes(resolve.resolve_recipe("pretrain", ["data=digits", "fewshot.every=7"]))
    ) == ["digits"]
    assert probe_recipes.resolve_probe_recipes(resolve.resolve_recipe("pretrain", ["data=digits"])) == {}


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["model=bit_r50x1"], "masks patches, and bit_r50x1 has none"),
        (["model=r26_vit_s32"], "choose a pure vision transformer"),
        (["model=vit_nano8", "augment=light2"], "augment.mixup=0.2: is for labels"),
        (["model=vit_nano8", "smoothing=0.1"], "smoothing=0.1: is for labels"),
        (["model=vit_nano8", "head_bias=-10"], "head_bias=-10.0: is for labels"),
        (["model=vit_nano8", "objective.mask=0.95"], "with objective.other=0.1 is more than 1"),
    ],
)
def test_options_that_masked_patches_do_not_have_are_refused(overrides, message):
    with pytest.raises(UserError, match=message) as error:
        resolve.resolve_recipe("pretrain", ["objective=masked", "res=32", *overrides])
    assert error.value.status == ExitCode.COMMAND


@pytest.mark.parametrize("command, option", [("pretrain", "runs"), ("export", "path"), ("report", "save")])
def test_a_place_for_files_whose_name_is_no_utf8_is_refused(command, option, tmp_path):
    required = [SCRATCH] if command == "export" else []
    with pytest.raises(UserError, match="is not valid UTF-8") as error:
        resolve.resolve_recipe(command, [*required, f"{option}={tmp_path}/a\udcff.html"])
    assert (error.value.option, error.value.status) == (option, ExitCode.COMMAND)


@pytest.mark.parametrize("command, option", [("export", "path"), ("report", "save"), ("compare", "save")])
@pytest.mark.parametrize("value", ["/", "."])
def test_a_place_for_a_file_without_its_name_is_refused(command, option, value):
    required = [SCRATCH] if command == "export" else []
    with pytest.raises(UserError, match="add a name for the output in it") as error:
        resolve.resolve_recipe(command, [*required, f"{option}={value}"])
    assert (error.value.option, error.value.status) == (option, ExitCode.COMMAND)


def test_weights_whose_name_is_no_utf8_are_refused(tmp_path):
    with pytest.raises(UserError, match="is not valid UTF-8") as error:
        resolve.resolve_recipe("finetune", [f"init={tmp_path}/a\udcff.npz"])
    assert (error.value.option, error.value.status) == ("init", ExitCode.CHECKPOINT)


REFUSED = [
    (
        "finetune",
        [SCRATCH, "epochs=1", "batch=512", "warmup=500"],
        "warmup",
        "leaves no step of the 3 steps of epochs=1 of 1,297 images in batches of 512",
    ),
    (
        "finetune",
        finetune_overrides("vtab/pets", "epochs=2", "batch=100", "warmup=20", "data.train=train800"),
        "warmup",
        "the 16 steps of epochs=2 of 800 images in batches of 100",
    ),
    (
        "pretrain",
        ["data=cifar10", "epochs=1", "batch=4096", "warmup=10000"],
        "warmup",
        "the 12 steps of epochs=1 of 50,000 images",
    ),
    ("pretrain", ["examples=100", "batch=100", "warmup=1"], "warmup", "the 1 step of examples=100 in batches of 100"),
    ("pretrain", ["batch=100", "micro_batch=128"], "micro_batch", "is more than batch=100"),
    (
        "finetune",
        finetune_overrides("pets", "protocol=bit_hyperrule", "steps=300"),
        "drops",
        "between the 100 warm-up steps and the end of steps=300",
    ),
    ("finetune", finetune_overrides("pets", "protocol=bit_hyperrule", "schedule=cosine"), "drops", "add drops=[]"),
    ("pretrain", ["schedule=staircase"], "schedule", "add drops=[STEP,STEP]"),
    ("pretrain", ["schedule=constant", "schedule_end=1e-5"], "schedule", "add schedule_end=0"),
    ("pretrain", ["schedule_end=0.1"], "schedule_end", "below optim.lr=0.004"),
    ("pretrain", ["optim=adam", "optim.decay_units=big_vision"], "optim.decay_units", "optim=adamw"),
    (
        "pretrain",
        ["protocol=better_vit", "model=vit_s16", "data=imagenet", "optim=sgd"],
        "optim.decay_units",
        "set by the protocol",
    ),
    ("finetune", [SCRATCH, "protocol=papre"], "protocol", "Did you mean paper_"),
    ("pretrain", ["protocol=hyperrule"], "protocol", "Choose one of aaconv, augreg"),
]


@pytest.mark.parametrize(
    "command, overrides, option, message", REFUSED, ids=[" ".join(overrides) for _, overrides, *_ in REFUSED]
)
def test_impossible_combinations_are_refused_with_their_arithmetic(command, overrides, option, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        resolve.resolve_recipe(command, overrides)
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, option)
