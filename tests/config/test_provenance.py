"""`--cfg` prints overrides that resolve to the same recipe, with their sources; unused overrides are refused."""

import re
import shlex

import pytest

from helpers.overrides import SCRATCH
from helpers.runs import pretrain_tiny
from vitrun.config import provenance, resolve, unused
from vitrun.config.overrides import expand_sweep
from vitrun.errors import ExitCode, UserError

PROTOCOL = "conf/protocol/clip.yaml"
PAIRS = ("protocol=clip", "data=pairs", "data.path=/", "data.train=a.tar", "data.test=b.tar")
WHOLE = ("crop=none", "flip=false")
SHOWN = [
    ("pretrain", []),
    ("pretrain", ["model=vit_b16", "seed=3", "optim.lr=1e-5", "epochs=0.5"]),
    ("pretrain", ["optim=sgd", "clip=null"]),
    ("pretrain", ["data=cifar10", "model=bit_r50x1", "data.area=0.1,1"]),
    ("pretrain", ["data=imagenet21k", "data.path=/", "model=swin_b"]),
    ("finetune", [SCRATCH, "data=imagenet"]),
    ("fewshot", [SCRATCH, "shots=1,5"]),
    ("fewshot", [SCRATCH, "probe=linear", "layers=all", "linear.l2=3"]),
    ("pretrain", ["objective=masked"]),
    ("pretrain", ["fewshot.every=25%", "fewshot.shots=1,5"]),
    ("pretrain", ["augment=light2", "augment.randaugment=none", "augment.layers=0"]),
    ("eval", [SCRATCH, "data=cifar100"]),
    ("pretrain", ["runs=my runs"]),
    ("finetune", [SCRATCH, "data=vtab/pets", "data.root=/", "protocol=vpt_vtab"]),
    ("finetune", [SCRATCH, "data=vtab", "data.root=/"]),
    (
        "dedup",
        [
            "data=cifar10",
            "against=vtab/pets",
            "against.root=/",
            "against.protocol=vpt",
            *(f"against.{w}" for w in WHOLE),
        ],
    ),
    ("dedup", []),
    ("compare", ["rows=data,optim.lr"]),
    ("models", []),
    ("data", []),
    ("data", ["vtab"]),
    ("data", ["vtab", "data.root=/"]),
    ("data", ["cifar10", "data.path=/", "data.label=fine_label"]),
]


@pytest.mark.parametrize(
    "command, overrides", SHOWN, ids=[" ".join([command, *overrides]) for command, overrides in SHOWN]
)
def test_the_output_of_cfg_resolves_to_the_same_recipe(command, overrides):
    recipe = resolve.resolve_recipe(command, overrides)
    shown = provenance.format_config(command, overrides, recipe)
    pasted = [override for line in shown.splitlines() for override in shlex.split(line.rpartition("  # ")[0])]
    assert resolve.resolve_recipe(command, pasted) == recipe
    unused.check_unused(command, [(pasted, recipe)])
    assert all(source for source in (line.rpartition("  # ")[2] for line in shown.splitlines()))


MISSING = [  # incomplete overrides, the missing option, the message when they are to run
    (
        "pretrain",
        ["model=vit_l16", "data=imagenet21k"],
        "data.path",
        "add data.path=FOLDER, or URLs, as in data.train=https:",
    ),
    ("pretrain", ["data=shards", "data.path=/"], "data.classes", "the number of classes: add data.classes=NUMBER"),
    ("finetune", [SCRATCH, "data=folder"], "data.path", "needs a folder of images: add data.path=FOLDER"),
    ("finetune", [SCRATCH, "data=vtab", "protocol=paper_vtab"], "data.root", "add data.root=FOLDER"),
    ("fewshot", [SCRATCH, "data=vtab/pets"], "data.root", "add data.path=FOLDER, or data.root="),
    ("eval", [SCRATCH, "data=imagenet21k"], "data.path", "as in data.test=https://HOST/test-{000..127}.tar"),
    (
        "dedup",
        ["against=folder"],
        "against.path",
        "against=folder: needs a folder of images: add against.path",
    ),
    ("pretrain", ["data=cifar10", "fewshot.every=50%", "fewshot.data=folder"], "fewshot.paths", "add fewshot.paths="),
]


@pytest.mark.parametrize(
    "command, overrides, key, message", MISSING, ids=[" ".join(overrides) for _, overrides, *_ in MISSING]
)
def test_cfg_shows_missing_options_as_null_and_a_run_refuses_them(command, overrides, key, message):
    shown = provenance.format_config(command, overrides, resolve.resolve_recipe(command, overrides, running=False))
    pasted = [override for line in shown.splitlines() for override in shlex.split(line.rpartition("  # ")[0])]
    assert f"{key}=[]" in pasted if key == "fewshot.paths" else f"{key}=null" in pasted
    for some in (overrides, pasted):
        with pytest.raises(UserError, match=re.escape(message)) as error:
            resolve.resolve_recipe(command, some)
        assert error.value.status == ExitCode.COMMAND


def test_cfg_names_the_file_or_the_override_that_set_each_option():
    overrides = ["data=cifar10", "seed=3"]
    shown = provenance.format_config("pretrain", overrides, resolve.resolve_recipe("pretrain", overrides))
    parts = [line.rpartition("  # ") for line in shown.splitlines()]
    where = {shlex.split(override)[0].partition("=")[0]: source for override, _, source in parts if override}
    assert where["seed"] == "command line"
    assert where["batch"] == "conf/pretrain.yaml"
    assert where["data.hub"] == "conf/data/cifar10.yaml"
    assert where["data.area"] == where["epochs"] == where["steps"] == "conf/recipe/pretrain/small/cifar10.yaml"
    assert (where["model.patch"], where["model.stem"]) == ("conf/model/vit_nano8.yaml", "conf/model/_vit.yaml")
    assert where["protocol"] == "conf/pretrain.yaml: paper_table3 has no recipe for vit_nano8 on cifar10"
    assert shown.splitlines()[-1] == "# 3,906 steps of 128 images, 1.1e-05 exaFLOP"
    for overrides, source in ((["objective=contrastive"], "conf/objective/contrastive.yaml"), ([*PAIRS], PROTOCOL)):
        shown = provenance.format_config("pretrain", overrides, resolve.resolve_recipe("pretrain", overrides))
        (line,) = [line for line in shown.splitlines() if line.startswith("model=clip")]
        assert line.endswith(f"# {source}")


UNUSED = [
    ("pretrain", "augment.magnitude=5", "augment.magnitude", "add augment.layers=2"),
    ("finetune", f"{SCRATCH} grid=0.1,0.2 dev=0.1 optim.lr=0.3", "optim.lr", "put it there"),
    ("pretrain", "objective=masked loss=sigmoid", "loss", "take it out"),
    ("pretrain", "fewshot.shots=7", "fewshot.shots", "add fewshot.every=25%"),
    ("fewshot", f"{SCRATCH} linear.l2=3", "linear.l2", "add that"),
    ("fewshot", f"{SCRATCH} probe=linear linear.pooling=token", "linear.pooling", "is for layers in between"),
    ("fewshot", f"{SCRATCH} probe=linear shots=7", "shots", "keep one of the two"),
    ("dedup", "similarity=0.8", "similarity", "add init="),
    ("dedup", "init_weights=plain", "init_weights", "add init="),
    ("eval", "init=random:vit_nano8 init_weights=plain data=shapes", "init_weights", "untrained"),
    ("dedup", "view.crop=0.5", "view.crop", "is for features"),
    ("pretrain", "data.crop=none data.area=[0.5,0.6]", "data.area", "is for the crops inception and random_r"),
    ("fewshot", f"{SCRATCH} data.flip=true", "data.flip", "is for training images"),
    ("eval", f"{SCRATCH} data=digits data.crop=pad", "data.crop", "is for training images"),
    ("pretrain", "data=cifar10 data.path=. data.revision=main", "data.revision", "is for the Hub"),
    ("pretrain", "data.crop=random_resized data.area=[0.5,0.6]", None, None),
    ("pretrain", "objective=masked", None, None),
    ("pretrain", "objective=masked loss=softmax", None, None),  # the value of the files
    ("pretrain", "fewshot.every=25% fewshot.shots=7", None, None),
    ("fewshot", f"{SCRATCH} probe=linear layers=all linear.pooling=token linear.l2=3", None, None),
    ("dedup", f"{SCRATCH} similarity=0.8", None, None),
]


@pytest.mark.parametrize(
    "command, overrides, option, message", UNUSED, ids=[f"{command} {overrides}" for command, overrides, *_ in UNUSED]
)
def test_an_unused_override_is_refused(command, overrides, option, message):
    job = (overrides.split(), resolve.resolve_recipe(command, overrides.split()))
    if option is None:
        unused.check_unused(command, [job])
        return
    with pytest.raises(UserError, match=re.escape(message)) as error:
        unused.check_unused(command, [job])
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, option)


def test_a_sweep_may_have_overrides_that_only_some_of_its_jobs_read():
    jobs = expand_sweep("fewshot", [SCRATCH, "probe=ridge,linear", "shots=1,7", "linear.l2=3"])
    checked = [(job, resolve.resolve_recipe("fewshot", job)) for job in jobs]
    unused.check_unused("fewshot", checked)
    with pytest.raises(UserError, match="shots=1,7 is for probe=ridge"):
        unused.check_unused("fewshot", checked[1:])


def test_the_data_set_that_a_run_brings_is_shown_with_where_it_is_from(run_command):
    folder = pretrain_tiny(run_command)
    overrides = [f"init={folder.name}", f"runs={folder.parent}"]
    lines = provenance.format_config(
        "visualize", overrides, resolve.resolve_recipe("visualize", overrides)
    ).splitlines()
    assert any(line.startswith("data=shapes ") for line in lines)
