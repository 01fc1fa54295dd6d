"""Words make recipes: everything in conf/ is sound, and what set each option is shown."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from vitrun import choices, config, init, origins, protocols, run, start, unread
from vitrun.mistakes import Exit, Mistake
from vitrun.recipe import RECIPES

SCRATCH = "init=random:vit_nano8"
MODELS = choices.group_files("model")
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
    more = ["res=224"] * (group == "model")
    if group == "protocol" and "*" not in protocols.rows(verb, name):
        more += (
            ["data=vtab/pets"]
            if name in ("vit", "vpt")
            else ["data=imagenet", *["model=vit_s16"] * (verb == "pretrain")]
        )
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
    data, _, model = name.rpartition("/") if name.split("/")[-1] in MODELS else (name, "", "")
    if data == "any":  # that has no file of its own for the model
        rows = (protocols.Row(protocol, one, None) for one in choices.group_files("data"))
        there = (row for row in rows if protocols.exists(verb, row))
        data = next(row.data for row in there if protocols.for_weights(verb, row, model).startswith(f"{protocol}/any/"))
    chosen = {"protocol": protocol, "data": data} | ({"model": model} if verb == "pretrain" else {})
    words = needed(verb, [f"{key}={value}" for key, value in chosen.items() if value], tmp_path)
    if verb == "finetune" and model:
        words = [f"init=random:{model}", *(word for word in words if word != SCRATCH)]
    recipe = start.load(verb, words)
    paths = [path for path, *_ in config.files(verb, config.parse(verb, words), init.behind(recipe))]
    assert str(file.with_suffix("")) == paths[-1] and recipe.data.name == data


@pytest.mark.parametrize("data", ["shapes", "cifar10", "imagenet"])  # whose files give steps, epochs, epochs
@pytest.mark.parametrize("word", ["steps=7", "epochs=7", "examples=7"])
def test_a_duration_word_replaces_the_duration_of_the_files(data, word):
    recipe = start.load("pretrain", [f"data={data}", word, "warmup=0"])
    found = {unit: getattr(recipe, unit) for unit in ("steps", "epochs", "examples")}
    assert {unit: value for unit, value in found.items() if value is not None} == {word.split("=")[0]: 7}


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
    ("finetune", [SCRATCH, "data=vtab/pets", "data.root=/", "protocol=vpt"]),
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


@pytest.mark.parametrize("verb, words", SHOWN, ids=[" ".join([verb, *words]) for verb, words in SHOWN])
def test_what_cfg_shows_pastes_back_to_the_same_recipe(verb, words):
    recipe = start.load(verb, words)
    shown = origins.show(verb, words, recipe)
    pasted = [word for line in shown.splitlines() for word in shlex.split(line.rpartition("  # ")[0])]
    assert start.load(verb, pasted) == recipe
    unread.check(verb, [(pasted, recipe)])
    assert all(source for source in (line.rpartition("  # ")[2] for line in shown.splitlines()))


MISSING = [  # what does not say all yet, the option that shows it, what is said where it is to run
    (
        "pretrain",
        ["model=vit_l16", "data=imagenet21k"],
        "data.path",
        "Add data.path=FOLDER, or addresses, as in data.train=https:",
    ),
    ("pretrain", ["data=shards", "data.path=/"], "data.classes", "the number of classes: add data.classes=NUMBER"),
    ("finetune", [SCRATCH, "data=folder"], "data.path", "where the images are: add data.path=FOLDER"),
    ("finetune", [SCRATCH, "data=vtab", "protocol=vit"], "data.root", "where the originals are: add data.root=FOLDER"),
    ("fewshot", [SCRATCH, "data=vtab/pets"], "data.root", "where its original is: add data.path=FOLDER, or data.root="),
    ("eval", [SCRATCH, "data=imagenet21k"], "data.path", "as in data.test=https://HOST/test-{000..127}.tar"),
    (
        "dedup",
        ["against=folder"],
        "against.path",
        "against=folder needs to know where the images are: add against.path",
    ),
    ("pretrain", ["data=cifar10", "fewshot.every=50%", "fewshot.data=folder"], "fewshot.paths", "add fewshot.paths="),
]


@pytest.mark.parametrize("verb, words, key, said", MISSING, ids=[" ".join(words) for _, words, *_ in MISSING])
def test_cfg_shows_what_is_missing_and_pasted_back_it_is_told(verb, words, key, said):
    shown = origins.show(verb, words, start.load(verb, words, running=False))
    pasted = [word for line in shown.splitlines() for word in shlex.split(line.rpartition("  # ")[0])]
    assert f"{key}=[]" in pasted if key == "fewshot.paths" else f"{key}=null" in pasted
    for some in (words, pasted):
        with pytest.raises(Mistake, match=re.escape(said)) as error:
            start.load(verb, some)
        assert error.value.status == Exit.COMMAND


def test_cfg_names_the_file_or_the_word_that_set_each_option():
    words = ["data=cifar10", "seed=3"]
    shown = origins.show("pretrain", words, start.load("pretrain", words))
    parts = [line.rpartition("  # ") for line in shown.splitlines()]
    where = {shlex.split(word)[0].partition("=")[0]: source for word, _, source in parts}
    assert where["seed"] == "command line"
    assert where["batch"] == "conf/pretrain.yaml"
    assert where["data.hub"] == "conf/data/cifar10.yaml"
    assert where["data.area"] == where["epochs"] == where["steps"] == "conf/recipe/pretrain/small/cifar10.yaml"
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


def test_a_copied_row_is_called_as_its_file_and_an_unsound_one_is_named(tmp_path, monkeypatch):
    shutil.copytree(choices.CONF, tmp_path / "conf")
    copy = tmp_path / "conf" / "model" / "mine.yaml"
    shutil.copy(tmp_path / "conf" / "model" / "vit_nano8.yaml", copy)
    monkeypatch.setattr(choices, "CONF", tmp_path / "conf")
    for cached in (choices.groups, config.known_to, config.listed):
        cached.cache_clear()
    try:
        with pytest.raises(Mistake, match="conf/model/mine.yaml has the name vit_nano8: write name: mine"):
            start.load("pretrain", ["model=mine"])
    finally:
        for cached in (choices.groups, config.known_to, config.listed):
            cached.cache_clear()
    copy.write_text(copy.read_text() + "extra: 1\n")
    with pytest.raises(Mistake, match="conf/model/mine.yaml is unsound: .*extra"):
        choices.model_rows()
