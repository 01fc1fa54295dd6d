"""A wrong override is refused with a suggestion; lists, sweeps and values are parsed as users write them."""

from pathlib import Path

import pytest

from helpers.overrides import add_required_overrides
from vitrun.config import resolve
from vitrun.config.compose import compose_config
from vitrun.config.overrides import expand_sweep
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import trees

NAMES = [
    "naïve/l.txt",
    "a(1)=b#c.txt",
    "b c",
    "it's",
    "a(1",
    "[x]/y",
    "$HOME",
    "a\\b\\",
    "123",
    "@b",
    "a:b",
    "null.txt",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_characters_are_taken_in_lists_as_in_single_values(name):
    for value in (name, f"[{name}]", f"{name},other", trees.quote_text(name), trees.format_value([name])):
        tree = compose_config("pretrain", [f"exclude={value}", "data=folder", f"data.path={name}"])
        assert tree["exclude"][0] == tree["data"]["path"] == name and len(tree["exclude"]) == 1 + ("other" in value)


SWEEPS = {
    "seed=range(0,3)": ["seed=0", "seed=1", "seed=2"],
    "optim.lr=choice(0.1, 1e-3)": ["optim.lr=0.1", "optim.lr=1e-3"],
    "ema=choice(null,0.99)": ["ema=null", "ema=0.99"],
    "model=glob('vit_b[348]*')": ["model=vit_b32", "model=vit_b4", "model=vit_b8"],
    "model=glob(vit_b*,exclude=[*2,*4,*8])": ["model=vit_b16"],
    "fewshot.shots=choice([1],[2,5])": ["fewshot.shots=[1]", "fewshot.shots=[2,5]"],
    "data.path=choice('a,b','c d')": ["data.path='a,b'", "data.path='c d'"],
    "exclude=a(1).txt": ["exclude=a(1).txt"],
}


@pytest.mark.parametrize("override, jobs", SWEEPS.items(), ids=SWEEPS)
def test_a_sweep_takes_range_choice_and_glob_as_hydra_does(override, jobs):
    assert expand_sweep("pretrain", [override]) == [[job] for job in jobs]


@pytest.mark.parametrize("value", ["range(0,0)", "range(a)", "choice(", "glob(*)"])
def test_a_wrong_sweep_is_refused_with_its_option(value):
    with pytest.raises(UserError) as error:
        expand_sweep("pretrain", [f"seed={value}"])
    assert error.value.option == "seed"
    with pytest.raises(UserError, match="add -m"):
        compose_config("pretrain", ["seed=range(0,3)"])


def test_a_comma_in_a_name_of_a_list_is_quoted():
    assert compose_config("pretrain", ["exclude='a,b','c'"])["exclude"] == ["a,b", "c"]
    with pytest.raises(UserError, match="empty value") as error:
        compose_config("pretrain", ["exclude=a,,b"])
    assert error.value.option == "exclude"


def test_only_the_override_that_cannot_be_read_is_named():
    with pytest.raises(UserError) as error:
        compose_config("pretrain", ["seed=1", "fewshot.shots=[1,", "batch=8"])
    assert error.value.option == "fewshot.shots" and "seed" not in str(error.value)


# command, overrides, the option at fault, the suggestion in the message, exit status
WRONG = [
    ("pretrain", "lr=0.1", "lr", "Did you mean optim.lr?", 2),
    ("pretrain", "sede=1", "sede", "Did you mean seed", 2),
    ("pretrain", "Model=vit_b16", "Model", "Did you mean model?", 2),
    ("pretrain", "--lr 0.1", None, "Write optim.lr=0.1", 2),
    ("pretrain", "--seed=3", None, "Write seed=3", 2),
    ("pretrain", "lr = 0.1", None, "Write optim.lr=0.1", 2),
    ("pretrain", "seed", None, "Write seed=", 2),
    ("pretrain", "resme", None, "Did you mean res", 2),
    ("pretrain", "+x=1", None, "vitrun pretrain --cfg", 2),
    ("pretrain", "++seed=1", None, "the set of options is closed", 2),
    ("pretrain", "~model", None, "the set of options is closed", 2),
    ("pretrain", "hydra.run.dir=x", "hydra.run.dir", "Unknown option 'hydra.run.dir'", 2),
    ("pretrain", "hydra/launcher=x", None, "Unknown option 'hydra/launcher'", 2),
    ("pretrain", "seed=1 seed=2", None, "seed is given twice", 2),
    ("pretrain", "model=vit_b61", "model", "Did you mean vit_b16?", 2),
    ("pretrain", "data=imagnet", "data", "Did you mean imagenet", 2),
    ("pretrain", "optim=agd", "optim", "sgd", 2),
    ("pretrain", "optim=sgd optim.betas=[0.9,0.9]", "optim.betas", "optim=adamw", 2),
    ("pretrain", "data.path=/tmp", "data.path", "data=cifar10", 2),
    ("pretrain", "optim.lr=", None, "leave optim.lr out", 2),
    ("pretrain", "optim.lr= seed=1", None, "optim.lr= has no value", 2),
    ("pretrain", "data=folder data.path=/tmp/a,b", "data.path", "quote it twice", 2),
    ("pretrain", "data.flip=maybe", "data.flip", "", 2),
    ("pretrain", "data=digits data.test_images=1797", "data.test_images", "", 2),
    ("pretrain", "data=folder data.path=~/no/such", "data.path", f"there is no folder {Path.home()}/no/such", 3),
    ("finetune", "init=~/no.npz", None, f"no such file: {Path.home()}/no.npz", 4),
    ("pretrain", "model=timm model.width=3", "model.width", "", 2),
    ("finetune", "model=vit_b16", "model", "init=random:vit_b16", 2),
    ("finetune", "init=random:vit_nano8 res=30", "res", "24 and 32", 2),
    ("pretrain", "model.name=resnet50", "model.name", "model=NAME", 2),
    ("pretrain", "seed=0,1", "seed", "add -m", 2),
    ("pretrain", "model=vit_b16,vit_l16", "model", "add -m", 2),
    ("pretrain", "seed=a", "seed", "integer", 2),
    ("pretrain", "batch=1.5", "batch", "integer", 2),
    ("pretrain", "batch=0", "batch", "greater than 0", 2),
    ("pretrain", "optim.lr=-1", "optim.lr", "greater than 0", 2),
    ("pretrain", "optim.lr=inf", "optim.lr", "finite", 2),
    ("pretrain", "bad_images=1.5", "bad_images", "a share below 1", 2),
    ("eval", "init=random:vit_nano8 data=digits bad_images=drop", "bad_images", "'stop' or 'skip'", 2),
    ("pretrain", "data.area=0.5", "data.area", "", 2),
    ("pretrain", "ema=1", "ema", "less than 1", 2),
    ("pretrain", "warmup=x%", "warmup", "", 2),
    ("pretrain", "micro_batch=x", "micro_batch", "", 2),
    ("pretrain", "precision=fp16", "precision", "'bf16'", 2),
    ("pretrain", "data.crop=incepton", "data.crop", "'inception'", 2),
    ("pretrain", "augment=ligth2", "augment", "light2", 2),
    ("pretrain", "augment.layers=2", "augment.randaugment", "", 2),
    ("pretrain", "augment.magnitude=31", "augment.magnitude", "less than or equal to 30", 2),
    ("pretrain", "objective=mask", "objective", "masked", 2),
    ("pretrain", "objective.share=0.3", "objective.share", "objective=masked", 2),
    ("pretrain", "view.crop=0", "view.crop", "greater than or equal to 0.01", 2),
    ("eval", "init=random:vit_nano8 data=digits view.resize=smal", "view.resize", "'small'", 2),
    ("fewshot", "crop=0.875", "crop", "view.crop", 2),
    ("pretrain", "model.kind=vti", "model.kind", "model=NAME", 2),
    ("pretrain", "optim.kind=sgd", "optim.kind", "optim=NAME", 2),
    ("pretrain", "warmup=0.1", "warmup", "10%", 2),
    ("pretrain", "warmup=200%", "warmup", "", 2),
    ("pretrain", "data.area=[1,0.5]", "data.area", "", 2),
    ("pretrain", "seed=true", "seed", "", 2),
    ("compare", "commands=evaal", "commands", "'eval'", 2),
    ("pretrain", "steps=10 epochs=1", "steps", "steps, epochs, examples", 2),
    ("pretrain", "steps=null", "steps", "one duration, not 0", 2),
    ("pretrain", "warmup=900 steps=800", "warmup", "", 2),
    ("pretrain", "micro_batch=0", "micro_batch", "", 2),
    ("pretrain", "model.heads=7", "model.width", "", 2),
    ("pretrain", "batch=${seed}", "batch", "write the value itself", 2),
    ("pretrain", "batch=${nope}", "batch", "write the value itself", 2),
    ("data", "x=1", "x", "Unknown option 'x'", 2),
    ("eval", "init=random:vit_nano8", "init", "data=NAME", 2),
    ("pretrain", "data=folder", "data", "data.path=FOLDER", 2),
    ("pretrain", "data=parquet", "data", "", 2),
    ("pretrain", "data=imagenet21k", "data", "data.train=https://", 2),
    ("pretrain", "data=shards data.path=/", "data", "", 2),
    ("eval", "init=random:vit_nano8 data=objectnet", "data", "https://objectnet.dev", 2),
    ("finetune", "init=random:vit_nano8 grid=null", "grid", "", 2),
    ("finetune", "init=random:vit_nano8 data=imagenet data.labels=real", "data", "", 2),
    ("eval", "init=random:vit_nano8 data=imagenet data.real=x.json data.labels=real", "data.real", "no file", 3),
    ("eval", "init=random:vit_nano8 data=cifar10 data.labels=rael", "data.labels", "'real'", 2),
    ("pretrain", "data=shards", "data", "data.test=https://", 2),
    ("pretrain", "data=shards data.test=https://h/a.tar data.classes=3", "data", "data.train=https://", 2),
    ("pretrain", "data=shards data.path=.", "data", "data.classes=NUMBER", 2),
    ("pretrain", "data=folder data.path=/nowhere", "data.path", "no folder /nowhere", 3),
    ("pretrain", "data=vtab/kitti", "data", "Did you mean vtab/kitti_dist?", 2),
    ("pretrain", "data=vtab/pets", "data", "data.root=FOLDER", 2),
    ("pretrain", "data=vtab/pets data.root=/nowhere", "data.root", "no folder /nowhere", 3),
    ("pretrain", "data=vtab/pets data.root=/ data.task=dtd", "data.task", "data=NAME", 2),
    ("pretrain", "data=vtab/pets data.root=/ data.protocol=ptv", "data.protocol", "'vpt'", 2),
    ("pretrain", "data=vtab/pets data.root=/ data.train=train", "data.train", "", 2),
    ("pretrain", "data=vtab/pets data.root=/ data.test=val200", "data.test", "", 2),
    ("pretrain", "data=vtab/pets data.root=/ data.protocol=vpt data.flip=true", "data.protocol", "", 2),
    ("pretrain", "fewshot.every=0", "fewshot.every", "5%", 2),
    ("pretrain", "fewshot.every=101%", "fewshot.every", "", 2),
    ("pretrain", "fewshot.data=digits", "fewshot.data", "fewshot.every=25%", 2),
    ("pretrain", "fewshot.every=5 fewshot.data=digitz", "fewshot.data", "digits", 2),
    ("pretrain", "fewshot.every=5 fewshot.data=folder", "fewshot.data", "fewshot.paths=FOLDER", 2),
    ("pretrain", "fewshot.every=5 fewshot.data=imagenet_real", "fewshot.data", "", 2),
    ("pretrain", "fewshot.every=5 fewshot.data=digits fewshot.paths=[/,/]", "fewshot.paths", "", 2),
    ("pretrain", "fewshot.every=5 fewshot.data=cifar10 fewshot.paths=/nowhere", "fewshot.paths", "no folder", 3),
    ("fewshot", "init=random:vit_nano8 shots=true", "shots", "", 2),
    ("fewshot", "init=random:vit_nano8 probe=linear layers=al", "layers", "last, or all, or numbers", 2),
    ("finetune", "init=random:vit_b61", None, "Did you mean vit_b16?", 2),
    ("finetune", "init=nothing.npz", None, "nothing.npz", 4),
    ("finetune", "init=pretrain-x runs=/nowhere", None, "timm:TAG", 4),
    ("finetune", "runs=/nowhere", None, "`vitrun pretrain` first", 4),
]


@pytest.mark.parametrize(
    "command, overrides, option, suggestion, status",
    WRONG,
    ids=[f"{command} {overrides}" for command, overrides, *_ in WRONG],
)
def test_every_wrong_override_is_refused_with_a_suggestion(command, overrides, option, suggestion, status):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe(command, overrides.split())
    sentence = str(error.value)
    assert (error.value.status, error.value.option) == (status, option)
    assert suggestion in sentence
    assert "\n" not in sentence and len(sentence) < 1000
    for foreign in ("constrained", "BRACKET_OPEN", "Exception", "pathlib", "+key", "Input", "There are ."):
        assert foreign not in sentence


@pytest.mark.parametrize("override", ["seed=0,", "seed=[1,2", "model.patch=8)", "seed=,", "runs=null"])
def test_a_value_that_cannot_be_parsed_is_shown_without_the_terms_of_a_parser(override):
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
    tree = trees.to_plain_tree(
        resolve.resolve_recipe(command, add_required_overrides(command, [f"{key}={text}"], Path()))
    )
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


def test_a_sweep_with_a_repeated_value_is_refused():
    with pytest.raises(UserError, match="has 0 twice"):
        expand_sweep("pretrain", ["seed=0,1,0"])


@pytest.mark.parametrize("text", ["10000", "1e4", "10_000", "1.0e4"])
def test_an_integer_may_be_written_with_an_exponent_or_underscores(text):
    recipe = resolve.resolve_recipe("pretrain", [f"steps={text}", f"batch={text}"])
    assert (recipe.steps, recipe.batch) == (10_000, 10_000) and type(recipe.steps) is type(recipe.batch) is int


@pytest.mark.parametrize("text", ["a b", "it's", "a=b", "{x}", "$x", "a\\b", "a\\", "\\'", "(1)", "é", "a#b", "'", "1"])
def test_a_path_may_hold_any_character(text):
    assert resolve.resolve_recipe("pretrain", [f"runs={text}"]).runs == Path(text)
