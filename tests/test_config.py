"""Words make recipes: everything in conf/ is sound, and every wrong word is told what was meant."""

import shlex
from pathlib import Path

import pytest

from vitrun import choices, config, grammar, origins, run, start
from vitrun.mistakes import Exit, Mistake
from vitrun.recipe import RECIPES

SCRATCH = "init=random:vit_nano8"
OWN = {verb: [SCRATCH] if verb in ("finetune", "fewshot", "eval", "export") else [] for verb in RECIPES}
ROWS = {name: choices.read_row("data", name) for name in choices.group_files("data")}
WITHOUT_HUB = [
    name
    for name, row in ROWS.items()
    if row["source"] in ("vtab", "shards") or row["source"] == "files" and row["hub"] is None
]
SUITES = [name for name, row in ROWS.items() if row["source"] == "suite"]
TO_EVALUATE = [name for name, row in ROWS.items() if row["source"] == "files" and row["train"] is None]
CHOICES = [
    (verb, group, name)
    for verb in RECIPES
    for group, names in choices.groups(verb).items()
    for name in names
    if verb != "data"  # data looks into folders
    if verb in ("pretrain", "finetune", "eval") or group not in ("data", "against")  # fewshot and dedup read as these
    if (verb == "eval" or group == "against" or name not in TO_EVALUATE) and (verb == "finetune" or name not in SUITES)
]
RECIPE_FILES = sorted(path.relative_to(choices.CONF) for path in choices.CONF.glob("recipe/*/**/*.yaml"))


def needed(verb: str, words: list[str], folder: Path) -> list[str]:
    """``words``, and those without which the verb cannot be."""
    given = " ".join(words)
    places = []
    for group in ("data", "against"):
        places += [f"{group}.path={folder}"] * any(f"{group}={name}" in words for name in WITHOUT_HUB)
        places += [f"{group}.classes=3"] * (f"{group}=shards" in words)
        places += [f"{group}.root={folder}"] * any(f"{group}={name}" in words for name in SUITES)
    data = ["data=digits"] * (verb in ("fewshot", "eval") and "data=" not in given)
    return [*OWN[verb], *data, *places, *words]


@pytest.mark.parametrize("verb", RECIPES)
def test_every_verb_has_a_recipe_without_any_choice(verb, tmp_path):
    assert type(start.load(verb, needed(verb, [], tmp_path))) is RECIPES[verb]


@pytest.mark.parametrize("verb, group, name", CHOICES)
def test_every_file_of_every_group_composes_into_a_sound_recipe(verb, group, name, tmp_path):
    more = ["res=224"] * (group == "model") + ["data=vtab/pets"] * (name in ("vit", "vpt"))
    more += ["data=imagenet"] * (name == "table2")
    recipe = start.load(verb, needed(verb, [f"{group}={name}", *more], tmp_path))
    folder = choices.folder(verb, group)
    chosen, row = getattr(recipe, group), choices.read_row(folder, name)
    tags = {"data": "source", "augment": "randaugment"}
    assert (chosen if group == "protocol" else getattr(chosen, tags.get(folder, "kind"))) in row.values()
    assert choices.groups(verb)[group][name], "its first line is a comment that says what it is"
    if folder == "data" or group == "model" and chosen.kind != "timm":
        assert chosen.name == name


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "fewshot", "dedup"])
@pytest.mark.parametrize("name", TO_EVALUATE)
def test_nothing_is_trained_on_a_set_for_evaluation(verb, name, tmp_path):
    with pytest.raises(Mistake, match=f"data={name} is for vitrun eval only"):
        start.load(verb, needed(verb, [f"data={name}"], tmp_path))


@pytest.mark.parametrize("file", RECIPE_FILES, ids=str)
def test_every_recipe_file_is_applied_to_the_choice_it_is_named_after(file, tmp_path):
    _, verb, *names = file.with_suffix("").parts
    protocol, name = ("", *names) if verb == "fewshot" else (names[0], "/".join(names[1:]))
    data = max((d for d in choices.group_files("data") if name == d or name.startswith(f"{d}_")), key=len)
    model = name.removeprefix(data).removeprefix("_")
    chosen = {"protocol": protocol, "data": data, "model": model}
    words = needed(verb, [f"{key}={value}" for key, value in chosen.items() if value], tmp_path)
    paths = [path for path, *_ in config.files(verb, config.parse(verb, words))]
    assert str(file.with_suffix("")) == paths[-1] and start.load(verb, words).data.name == data


# verb, words, parts of the sentence, exit status
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
    ("pretrain", "optim=sgd optim.betas=[0.9,0.9]", ["No option 'optim.betas'", "Did you mean optim."], 2),
    ("pretrain", "model=timm model.width=3", ["No option 'model.width'"], 2),
    ("finetune", "model=vit_b16", ["No option 'model'"], 2),
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
    ("compare", "verbs=evaal", ["evaal cannot be", "'eval'"], 2),
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
    ("eval", f"{SCRATCH} data=objectnet", ["data.path=FOLDER", "https://objectnet.dev"], 2),
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
    ("pretrain", "objective=masked loss=sigmoid", ["loss=sigmoid is for labels"], 2),
    ("pretrain", "fewshot.shots=7", ["fewshot.shots=7 probes nothing by itself", "fewshot.every=25%"], 2),
    ("pretrain", "augment.magnitude=15", ["augment.magnitude=15 is of RandAugment", "augment.layers=2"], 2),
    ("fewshot", f"{SCRATCH} linear.l2=3", ["linear.l2=3 is for probe=linear: add that"], 2),
    ("fewshot", f"{SCRATCH} probe=linear linear.pooling=token", ["add layers=all"], 2),
    ("fewshot", f"{SCRATCH} probe=linear shots=7", ["shots=7 is for probe=ridge"], 2),
    ("fewshot", f"{SCRATCH} probe=linear layers=al", ["layers=al cannot be", "last, or all, or numbers"], 2),
    ("dedup", "similarity=0.8", ["similarity=0.8 compares features: add init="], 2),
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


@pytest.mark.parametrize("verb, words, parts, status", WRONG, ids=[f"{verb} {words}" for verb, words, *_ in WRONG])
def test_every_wrong_word_is_told_what_was_meant(verb, words, parts, status):
    with pytest.raises(Mistake) as error:
        start.load(verb, words.split())
    sentence = str(error.value)
    assert error.value.status == status
    assert all(part in sentence for part in parts), sentence
    assert "\n" not in sentence and len(sentence) < 1000
    for foreign in ("constrained", "BRACKET_OPEN", "Exception", "pathlib", "+key", "Input", "There are ."):
        assert foreign not in sentence


@pytest.mark.parametrize("words", ["seed=0,", "seed=[1,2", "model.patch=8)", "seed=,", "runs=null"])
def test_an_unreadable_value_is_shown_back_without_the_words_of_a_parser(words):
    with pytest.raises(Mistake) as error:
        start.load("pretrain", [words])
    sentence = str(error.value)
    assert words in sentence and error.value.status == Exit.COMMAND
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
    ("compare", "verbs", "eval", ("eval",)),
]


@pytest.mark.parametrize("verb, key, text, value", LISTS)
def test_commas_make_lists_where_the_option_is_a_list(verb, key, text, value):
    tree = choices.plain(start.load(verb, needed(verb, [f"{key}={text}"], Path())))
    assert choices.reach(tree, key) == list(value)


SWEEPS = [
    ("pretrain", ["seed=0,1"], [["seed=0"], ["seed=1"]]),
    ("pretrain", ["model=vit_b16,vit_l16", "seed=3"], [["model=vit_b16", "seed=3"], ["model=vit_l16", "seed=3"]]),
    ("pretrain", ["steps=1,2", "seed=0,1"],
     [["steps=1", "seed=0"], ["steps=1", "seed=1"], ["steps=2", "seed=0"], ["steps=2", "seed=1"]]),
    ("fewshot", ["shots=1,5", "batch=1,2"], [["shots=1,5", "batch=1"], ["shots=1,5", "batch=2"]]),
    ("fewshot", ["shots=[1,5],[10]"], [["shots=[1,5]"], ["shots=[10]"]]),
    ("pretrain", ["runs='a,b'"], [["runs='a,b'"]]),
]  # fmt: skip


@pytest.mark.parametrize("verb, words, jobs", SWEEPS)
def test_commas_are_sweeps_everywhere_else(verb, words, jobs):
    assert grammar.expand(verb, words) == jobs


def test_a_sweep_names_no_value_twice():
    with pytest.raises(Mistake, match="has 0 twice"):
        grammar.expand("pretrain", ["seed=0,1,0"])


@pytest.mark.parametrize("data", ["shapes", "cifar10", "imagenet"])  # whose files give steps, epochs, epochs
@pytest.mark.parametrize("word", ["steps=7", "epochs=7", "examples=7"])
def test_a_duration_word_replaces_the_duration_of_the_files(data, word):
    recipe = start.load("pretrain", [f"data={data}", word, "warmup=0"])
    found = {unit: getattr(recipe, unit) for unit in ("steps", "epochs", "examples")}
    assert {unit: value for unit, value in found.items() if value is not None} == {word.split("=")[0]: 7}


@pytest.mark.parametrize("text", ["10000", "1e4", "10_000", "1.0e4"])
def test_a_whole_number_may_be_written_as_people_write_it(text):
    recipe = start.load("pretrain", [f"steps={text}", f"batch={text}"])
    assert (recipe.steps, recipe.batch) == (10_000, 10_000) and type(recipe.steps) is type(recipe.batch) is int


@pytest.mark.parametrize("text", ["a b", "it's", "a=b", "{x}", "$x", "a\\b", "a\\", "\\'", "(1)", "é", "a#b", "'", "1"])
def test_a_path_may_hold_any_character(text):
    assert start.load("pretrain", [f"runs={text}"]).runs == Path(text)


WHOLE = ("crop=none", "flip=false")
SHOWN = [
    ("pretrain", []),
    ("pretrain", ["model=vit_b16", "seed=3", "optim.lr=1e-5", "epochs=0.5"]),
    ("pretrain", ["optim=sgd", "clip=null"]),
    ("pretrain", ["data=cifar10", "model=bit_r50x1", "data.area=0.1,1"]),
    ("pretrain", ["data=imagenet21k", "data.path=/", "model=swin_b"]),
    ("finetune", [SCRATCH, "data=imagenet"]),
    ("fewshot", [SCRATCH, "shots=1,5"]),
    ("eval", [SCRATCH, "data=cifar100"]),
    ("pretrain", ["runs=my runs"]),
    ("finetune", [SCRATCH, "data=vtab/pets", "data.root=/", "protocol=vpt"]),
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


@pytest.mark.parametrize("verb, words", SHOWN, ids=[" ".join([verb, *words]) for verb, words in SHOWN])
def test_what_cfg_shows_pastes_back_to_the_same_recipe(verb, words):
    recipe = start.load(verb, words)
    shown = origins.show(verb, words, recipe)
    pasted = [word for line in shown.splitlines() for word in shlex.split(line.rpartition("  # ")[0])]
    assert start.load(verb, pasted) == recipe
    assert all(source for source in (line.rpartition("  # ")[2] for line in shown.splitlines()))


def test_cfg_names_the_file_or_the_word_that_set_each_option():
    words = ["data=cifar10", "seed=3"]
    shown = origins.show("pretrain", words, start.load("pretrain", words))
    parts = [line.rpartition("  # ") for line in shown.splitlines()]
    where = {shlex.split(word)[0].partition("=")[0]: source for word, _, source in parts}
    assert where["seed"] == "command line"
    assert where["batch"] == "conf/pretrain.yaml"
    assert where["data.hub"] == "conf/data/cifar10.yaml"
    assert where["data.area"] == where["epochs"] == where["steps"] == "conf/recipe/pretrain/paper/cifar10.yaml"
    assert where["model.patch"] == "conf/model/vit_nano8.yaml"


def test_the_order_of_words_does_not_matter():
    words = ["data=cifar10", "optim=sgd", "optim.lr=0.5", "epochs=2"]
    assert start.load("pretrain", words) == start.load("pretrain", words[::-1])


def test_a_run_is_named_after_what_it_computes():
    def name(*words: str) -> str:
        return run.name("pretrain", start.load("pretrain", list(words)))

    assert name() == name("seed=0") == name("device=cpu", "micro_batch=2", "save_minutes=1", "runs=elsewhere")
    assert len({name(), name("seed=1"), name("optim.lr=0.1"), name("steps=5"), name("model=vit_b16")}) == 5
    assert name("model=timm", "model.name=../a b").startswith("pretrain-.._a_b-shapes-")
