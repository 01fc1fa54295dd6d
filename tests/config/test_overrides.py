"""A wrong override is refused with a suggestion; lists, sweeps and values are read as users write them."""

from pathlib import Path

import pytest

from helpers.overrides import SCRATCH, needed
from vitrun.config import resolve
from vitrun.config.overrides import expand_sweep
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import trees

# command, overrides, parts of the message, exit status
WRONG = [
    ("pretrain", "lr=0.1", ["No option 'lr'", "Did you mean optim.lr?"], 2),
    ("pretrain", "sede=1", ["Did you mean seed"], 2),
    ("pretrain", "Model=vit_b16", ["Did you mean model?"], 2),
    ("pretrain", "--lr 0.1", ["options have no dashes", "Write optim.lr=0.1"], 2),
    ("pretrain", "--seed=3", ["Write seed=3"], 2),
    ("pretrain", "lr = 0.1", ["no spaces", "Write optim.lr=0.1"], 2),
    ("pretrain", "seed", ["'seed' is not KEY=VALUE", "Write seed="], 2),
    ("pretrain", "resme", ["is not KEY=VALUE", "Did you mean res"], 2),
    ("pretrain", "+x=1", ["+x=1 cannot be", "vitrun pretrain --cfg"], 2),
    ("pretrain", "++seed=1", ["the set of options is closed"], 2),
    ("pretrain", "~model", ["the set of options is closed"], 2),
    ("pretrain", "hydra.run.dir=x", ["No option 'hydra.run.dir'"], 2),
    ("pretrain", "hydra/launcher=x", ["No option 'hydra/launcher'"], 2),
    ("pretrain", "seed=1 seed=2", ["seed is given twice", "keep one"], 2),
    ("pretrain", "model=vit_b61", ["No model 'vit_b61'", "vit_b16"], 2),
    ("pretrain", "data=imagnet", ["Did you mean imagenet"], 2),
    ("pretrain", "optim=agd", ["sgd"], 2),
    ("pretrain", "optim=sgd optim.betas=[0.9,0.9]", ["No option 'optim.betas' of optim=sgd", "optim=adamw"], 2),
    ("pretrain", "data.path=/tmp", ["No option 'data.path' of the data here", "data=cifar10"], 2),
    ("pretrain", "optim.lr=", ["optim.lr= has no value", "leave optim.lr out"], 2),
    ("pretrain", "optim.lr= seed=1", ["optim.lr= has no value"], 2),
    ("pretrain", "data=folder data.path=/tmp/a,b", ["add -m", "quote it twice"], 2),
    ("pretrain", "data.flip=maybe", ["data.flip=maybe cannot be: it should be true or false"], 2),
    ("pretrain", "data=digits data.test_images=1797", ["data.test_images=1797 cannot be: it should be less"], 2),
    ("pretrain", "data=folder data.path=~/no/such", [f"there is no folder {Path.home()}/no/such"], 3),
    ("finetune", "init=~/no.npz", [f"there is no file {Path.home()}/no.npz"], 4),
    ("pretrain", "model=timm model.width=3", ["No option 'model.width'"], 2),
    ("finetune", "model=vit_b16", ["No option 'model'", "init=random:vit_b16"], 2),
    ("finetune", f"{SCRATCH.split()[0]} res=30", ["res=30 is no multiple of 8", "24 and 32"], 2),
    ("pretrain", "model.name=resnet50", ["model.name=resnet50 cannot be", "it comes with the choice of model=NAME"], 2),
    ("pretrain", "seed=0,1", ["is a sweep over 2 values", "add -m"], 2),
    ("pretrain", "model=vit_b16,vit_l16", ["is a sweep over 2 values", "add -m"], 2),
    ("pretrain", "seed=a", ["seed=a cannot be", "integer"], 2),
    ("pretrain", "batch=1.5", ["batch=1.5 cannot be", "integer"], 2),
    ("pretrain", "batch=0", ["batch=0 cannot be", "greater than 0"], 2),
    ("pretrain", "optim.lr=-1", ["optim.lr=-1 cannot be", "greater than 0"], 2),
    ("pretrain", "optim.lr=inf", ["optim.lr=inf cannot be", "finite"], 2),
    ("pretrain", "bad_images=1", ["bad_images=1 cannot be", "less than 1"], 2),
    ("eval", "init=random:vit_nano8 data=digits bad_images=drop", ["bad_images=drop cannot be", "'stop' or 'skip'"], 2),
    ("pretrain", "data.area=0.5", ["data.area needs more than 1 value"], 2),
    ("pretrain", "ema=1", ["less than 1"], 2),
    ("pretrain", "warmup=x%", ["warmup=x% cannot be"], 2),
    ("pretrain", "micro_batch=x", ["micro_batch=x cannot be"], 2),
    ("pretrain", "precision=fp16", ["precision=fp16 cannot be", "'bf16'"], 2),
    ("pretrain", "data.crop=incepton", ["'inception'"], 2),
    ("pretrain", "augment=ligth2", ["light2"], 2),
    ("pretrain", "augment.layers=2", ["augment.randaugment=none with augment.layers=2"], 2),
    ("pretrain", "augment.magnitude=31", ["less than or equal to 30"], 2),
    ("pretrain", "objective=mask", ["masked"], 2),
    ("pretrain", "objective.share=0.3", ["objective"], 2),
    ("pretrain", "view.crop=0", ["greater than 0"], 2),
    ("eval", "init=random:vit_nano8 data=digits view.resize=smal", ["'small'"], 2),
    ("fewshot", "crop=0.875", ["view.crop"], 2),
    ("pretrain", "model.kind=vti", ["model.kind=vti cannot be", "model=NAME, here vit"], 2),
    ("pretrain", "optim.kind=sgd", ["optim.kind=sgd cannot be", "optim=NAME, here adamw"], 2),
    ("pretrain", "warmup=0.1", ["warmup=0.1 cannot be", "10%"], 2),
    ("pretrain", "warmup=200%", ["warmup=200% cannot be"], 2),
    ("pretrain", "data.area=[1,0.5]", ["data.area=[1.0,0.5] cannot be", "it should go up"], 2),
    ("pretrain", "seed=true", ["seed=true cannot be"], 2),
    ("compare", "commands=evaal", ["evaal cannot be", "'eval'"], 2),
    ("pretrain", "steps=10 epochs=1", ["one duration, not 2", "steps, epochs, examples"], 2),
    ("pretrain", "steps=null", ["one duration, not 0"], 2),
    ("pretrain", "warmup=900 steps=800", ["warmup=900 leaves nothing of steps=800"], 2),
    ("pretrain", "micro_batch=7", ["batch=128 is not a multiple of micro_batch=7"], 2),
    ("pretrain", "model.heads=7", ["model.width=64 is not a multiple of model.heads=7"], 2),
    ("pretrain", "batch=${seed}", ["batch=${seed} cannot be"], 2),
    ("pretrain", "batch=${nope}", ["batch=${nope} cannot be"], 2),
    ("data", "x=1", ["No option 'x'"], 2),
    ("eval", SCRATCH, ["does not say which data to use", "data=NAME"], 2),
    ("pretrain", "data=folder", ["data=folder needs to know where the images are", "data.path=FOLDER"], 2),
    ("pretrain", "data=parquet", ["data=parquet needs to know where the images are"], 2),
    (
        "pretrain",
        "data=imagenet21k",
        ["Add data.path=FOLDER, or addresses", "data.train=https://", "data.test=http"],
        2,
    ),
    ("pretrain", "data=shards data.path=/", ["needs to know the number of classes: add data.classes=NUMBER"], 2),
    ("eval", f"{SCRATCH} data=objectnet", ["data.path=FOLDER", "https://objectnet.dev"], 2),
    ("finetune", f"{SCRATCH} grid=null", ["grid=null cannot be: it should be a list"], 2),
    ("finetune", f"{SCRATCH} data=imagenet data.labels=real", ["data=imagenet is for vitrun eval only"], 2),
    ("eval", f"{SCRATCH} data=imagenet data.real=x.json data.labels=real", ["data.real=x.json", "no file"], 3),
    ("eval", f"{SCRATCH} data=cifar10 data.labels=rael", ["data.labels=rael cannot be", "'real'"], 2),
    ("pretrain", "data=shards", ["where the shards are", "data.path=FOLDER", "data.test=https://"], 2),
    ("pretrain", "data=shards data.test=https://h/a.tar data.classes=3", ["data.train=https://"], 2),
    ("pretrain", "data=shards data.path=.", ["number of classes", "data.classes=NUMBER"], 2),
    ("pretrain", "data=folder data.path=/nowhere", ["data.path=/nowhere", "no folder /nowhere"], 3),
    ("pretrain", "data=vtab/kitti", ["No data 'vtab/kitti'", "Did you mean vtab/kitti_dist?"], 2),
    ("pretrain", "data=vtab/pets", ["data=vtab/pets needs to know where its original is", "data.root=FOLDER"], 2),
    ("pretrain", "data=vtab/pets data.root=/nowhere", ["data.root=/nowhere", "no folder /nowhere"], 3),
    ("pretrain", "data=vtab/pets data.root=/ data.task=dtd", ["it comes with the choice of data=NAME, here pets"], 2),
    ("pretrain", "data=vtab/pets data.root=/ data.protocol=ptv", ["data.protocol=ptv cannot be", "'vpt'"], 2),
    ("pretrain", "data=vtab/pets data.root=/ data.train=train", ["should be train800val200 or train800"], 2),
    ("pretrain", "data=vtab/pets data.root=/ data.test=val200", ["val200 is trained on", "data.train=train800"], 2),
    (
        "pretrain",
        "data=vtab/pets data.root=/ data.protocol=vpt data.flip=true",
        ["add data.crop=none data.flip=false"],
        2,
    ),
    ("pretrain", "fewshot.every=0", ["fewshot.every=0 cannot be", "5%"], 2),
    ("pretrain", "fewshot.every=101%", ["fewshot.every=101% cannot be"], 2),
    ("pretrain", "fewshot.data=digits", ["without fewshot.every probes nothing", "fewshot.every=25%"], 2),
    ("pretrain", "fewshot.every=5 fewshot.data=digitz", ["No fewshot.data 'digitz'", "digits"], 2),
    ("pretrain", "fewshot.every=5 fewshot.data=folder", ["fewshot.data=folder needs to", "fewshot.paths=FOLDER"], 2),
    (
        "pretrain",
        "fewshot.every=5 fewshot.data=imagenet_real",
        ["fewshot.data=imagenet_real is for vitrun eval only"],
        2,
    ),
    (
        "pretrain",
        "fewshot.every=5 fewshot.data=digits fewshot.paths=[/,/]",
        ["fewshot.paths has 2", "fewshot.data 1"],
        2,
    ),
    (
        "pretrain",
        "fewshot.every=5 fewshot.data=cifar10 fewshot.paths=/nowhere",
        ["fewshot.paths=/nowhere", "no folder"],
        3,
    ),
    ("fewshot", f"{SCRATCH} shots=true", ["shots=[true] cannot be", "on or off"], 2),
    ("fewshot", f"{SCRATCH} probe=linear layers=al", ["layers=al cannot be", "last, or all, or numbers"], 2),
    ("finetune", "init=random:vit_b61", ["No model 'vit_b61'", "vit_b16"], 2),
    ("finetune", "init=nothing.npz", ["there is no file", "nothing.npz"], 4),
    (
        "finetune",
        "init=pretrain-x runs=/nowhere",
        ["init=pretrain-x is no run, file, folder of weights, timm:TAG, hf:ORG/NAME or random:MODEL"],
        4,
    ),
    ("finetune", "runs=/nowhere", ["no finished pretrain run in /nowhere", "`vitrun pretrain` first"], 4),
]


@pytest.mark.parametrize(
    "command, overrides, parts, status", WRONG, ids=[f"{command} {overrides}" for command, overrides, *_ in WRONG]
)
def test_every_wrong_override_is_refused_with_a_suggestion(command, overrides, parts, status):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe(command, overrides.split())
    sentence = str(error.value)
    assert error.value.status == status
    assert all(part in sentence for part in parts), sentence
    assert "\n" not in sentence and len(sentence) < 1000
    for foreign in ("constrained", "BRACKET_OPEN", "Exception", "pathlib", "+key", "Input", "There are ."):
        assert foreign not in sentence


@pytest.mark.parametrize("override", ["seed=0,", "seed=[1,2", "model.patch=8)", "seed=,", "runs=null"])
def test_an_unreadable_value_is_shown_back_without_the_terms_of_a_parser(override):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("pretrain", [override])
    sentence = str(error.value)
    assert override in sentence and error.value.status == ExitCode.COMMAND
    assert not any(foreign in sentence for foreign in ("BRACKET", "EOF", "override", "Lexer", "pathlib")), sentence


LISTS = [
    ("fewshot", "shots", "1,5", (1, 5)),
    ("fewshot", "shots", "[1,5]", (1, 5)),
    ("fewshot", "shots", "7", (7,)),
    ("fewshot", "seeds", "0,1,2,3", (0, 1, 2, 3)),
    ("fewshot", "l2", "256,1024", (256, 1024)),
    ("pretrain", "data.area", "0.2,1", (0.2, 1.0)),
    ("pretrain", "optim.betas", "0.9,0.95", (0.9, 0.95)),
    ("compare", "rows", "data,optim.lr", ("data", "optim.lr")),
    ("compare", "commands", "eval", ("eval",)),
]


@pytest.mark.parametrize("command, key, text, value", LISTS)
def test_commas_make_lists_where_the_option_is_a_list(command, key, text, value):
    tree = trees.to_plain_tree(resolve.resolve_recipe(command, needed(command, [f"{key}={text}"], Path())))
    assert trees.get_value(tree, key) == list(value)


SWEEPS = [
    ("pretrain", ["seed=0,1"], [["seed=0"], ["seed=1"]]),
    ("pretrain", ["model=vit_b16,vit_l16", "seed=3"], [["model=vit_b16", "seed=3"], ["model=vit_l16", "seed=3"]]),
    ("pretrain", ["steps=1,2", "seed=0,1"],
     [["steps=1", "seed=0"], ["steps=1", "seed=1"], ["steps=2", "seed=0"], ["steps=2", "seed=1"]]),
    ("fewshot", ["shots=1,5", "batch=1,2"], [["shots=1,5", "batch=1"], ["shots=1,5", "batch=2"]]),
    ("fewshot", ["shots=[1,5],[10]"], [["shots=[1,5]"], ["shots=[10]"]]),
    ("pretrain", ["runs='a,b'"], [["runs='a,b'"]]),
]  # fmt: skip


@pytest.mark.parametrize("command, overrides, jobs", SWEEPS)
def test_commas_are_sweeps_everywhere_else(command, overrides, jobs):
    assert expand_sweep(command, overrides) == jobs


def test_a_sweep_names_no_value_twice():
    with pytest.raises(UserError, match="has 0 twice"):
        expand_sweep("pretrain", ["seed=0,1,0"])


@pytest.mark.parametrize("text", ["10000", "1e4", "10_000", "1.0e4"])
def test_a_whole_number_may_be_written_as_people_write_it(text):
    recipe = resolve.resolve_recipe("pretrain", [f"steps={text}", f"batch={text}"])
    assert (recipe.steps, recipe.batch) == (10_000, 10_000) and type(recipe.steps) is type(recipe.batch) is int


@pytest.mark.parametrize("text", ["a b", "it's", "a=b", "{x}", "$x", "a\\b", "a\\", "\\'", "(1)", "é", "a#b", "'", "1"])
def test_a_path_may_hold_any_character(text):
    assert resolve.resolve_recipe("pretrain", [f"runs={text}"]).runs == Path(text)
