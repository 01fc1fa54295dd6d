"""A run is of the row that its words and its weights name, and says so, or it is refused."""

import json
import re

import pytest
from recipes import SCRATCH, first_screen

from vitrun import choices, origins, protocols, start
from vitrun.mistakes import Exit, Mistake

NO_ROW = [  # words, for what there are rows, protocols that have one
    ("pretrain", ["protocol=better_vit", "model=vit_b16", "data=imagenet"], "imagenet (vit_s16)", "augreg or masked"),
    ("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet21k"], "imagenet (vit_s16)", "augreg"),
    ("pretrain", ["protocol=augreg", "data=cifar10"], "imagenet, imagenet21k", "masked or small"),
    ("pretrain", ["protocol=paper"], "imagenet-w21, imagenet, imagenet21k, shards (bit_r101x1, ", "masked or small"),
    ("pretrain", ["protocol=paper", "data=shards", "model=vit_s16"], "vit_l16, vit_l32)", "masked or small"),
    ("finetune", ["protocol=public"], "cifar10, cifar100, flowers102, imagenet, pets", "single"),
    ("finetune", ["protocol=paper", "data=folder"], "cifar10, cifar100, flowers102, imagenet, pets", "bit or single"),
    ("finetune", ["protocol=paper", "data=vtab/pets"], "cifar10, ", "bit or single or vit or vpt"),
    ("finetune", ["protocol=table2", "data=cifar10"], "imagenet", "bit or paper or public or single"),
    ("finetune", ["protocol=vit", "data=cifar10"], "vtab, vtab/*", "bit or paper or public or single"),
    ("finetune", ["protocol=vpt", "data=cifar10", "data.path=/"], "vtab, vtab/*", "bit or paper or public or single"),
    ("finetune", ["protocol=bit", "data=vtab", "data.root=/"], "vtab/*, cifar10, ", "single or vit or vpt"),
    ("finetune", ["protocol=bit", "data=shards"], "vtab/*, cifar10, ", "single"),
]  # fmt: skip


@pytest.mark.parametrize("verb, words, there, others", NO_ROW, ids=[" ".join(words) for _, words, *_ in NO_ROW])
def test_a_protocol_that_is_named_and_has_no_row_is_refused_with_those_there_are(verb, words, there, others):
    with pytest.raises(Mistake) as error:
        start.load(verb, words)
    said = str(error.value)
    assert said.startswith(f"{words[0]} has no row for ") and there in said and f"another protocol, {others}" in said
    assert error.value.status == Exit.COMMAND


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_every_protocol_has_rows_and_every_folder_of_recipes_a_protocol(verb):
    assert all(protocols.rows(verb, protocol) for protocol in choices.groups(verb)["protocol"])
    folders = {path.split("/")[0] for path in choices.group_files(f"recipe/{verb}")}
    assert folders <= set(choices.groups(verb)["protocol"])


@pytest.mark.parametrize("data", ["folder", "parquet"])
def test_bit_hyper_rule_on_own_images_crops_as_it_does_and_says_which_part_it_is(data):
    words = [SCRATCH, f"data={data}", "data.path=/", "protocol=bit"]
    recipe = start.load("finetune", words)
    assert (recipe.steps, recipe.drops, recipe.data.crop) == (500, (200, 300, 400), "square")
    assert "its part for under 20,000 training images, whatever their number here" in first_screen("finetune", words)[0]


# What the papers and the public code have for one model alone: init, protocol, data, what it is.
FOR_ONE = [
    ("random:vit_b16", "public", "cifar10", {"optim.lr": 0.01, "dropout": 0}),
    ("random:vit_b32", "public", "cifar10", {"optim.lr": 0.03, "dropout": 0}),
    ("random:vit_b16", "public", "cifar100", {"optim.lr": 0.03}),
    ("timm:vit_base_patch16_224.orig_in21k", "public", "cifar10", {"optim.lr": 0.01}),
    *((f"random:{model}", "public", data, {"dropout": 0.1, "optim.lr": 0.03})
      for model in ("vit_l16", "vit_h14", "r50_vit_b16") for data in ("cifar10", "cifar100", "imagenet")),
    ("random:vit_l16", "public", "pets", {"dropout": 0}),  # big_vision's, which has none
    *((f"random:{model}", "paper", "imagenet", {"grid": (0.003, 0.01, 0.03, 0.06)})
      for model in choices.group_files("model") if model.startswith(("bit_", "r50_", "r26_", "r_"))),
    ("timm:resnetv2_50x1_bit.goog_in21k", "paper", "imagenet", {"grid": (0.003, 0.01, 0.03, 0.06)}),
    ("random:vit_l16", "paper", "imagenet", {"grid": (0.003, 0.01, 0.03)}),
    ("random:r50_vit_b16", "paper", "pets", {"grid": (0.001, 0.003, 0.01, 0.03)}),
    ("random:vit_h14", "table2", "imagenet", {"res": 518, "ema": 0.9999}),
    ("random:vit_l16", "table2", "imagenet", {"res": 512}),
    ("random:vit_h14", "paper", "pets", {"res": 378, "grid": (0.001, 0.003, 0.01, 0.03), "steps": 500}),
    ("random:vit_h14", "paper", "imagenet", {"res": 378, "grid": (0.003, 0.01, 0.03), "dropout": None}),
    *(("random:vit_h14", "public", data, {"res": 378}) for data in ("cifar100", "imagenet", "flowers102")),
]  # fmt: skip


@pytest.mark.parametrize("weights, protocol, data, values", FOR_ONE, ids=["-".join(case[:3]) for case in FOR_ONE])
def test_fine_tuning_knows_what_was_published_for_the_model_of_its_weights(weights, protocol, data, values):
    recipe = start.load("finetune", [f"init={weights}", f"protocol={protocol}", f"data={data}"])
    tree = choices.plain(recipe)
    assert {key: choices.reach(tree, key) for key in values} == {k: choices.plain_value(v) for k, v in values.items()}


def test_a_run_and_a_file_of_weights_are_known_by_their_model_too(tmp_path):
    file = tmp_path / "ViT-B_16.npz"
    file.write_bytes(b"weights")
    words = ["protocol=public", "data=cifar10", f"runs={tmp_path}"]
    assert start.load("finetune", [f"init={file}", *words]).optim.lr == 0.01
    for name, recipe in (
        ("pretrain-one", {"model": choices.read_row("model", "vit_b16")}),
        ("finetune-two", {"init": "pretrain-one"}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(json.dumps({"data": {}, **recipe}))
        (tmp_path / name / "result.json").write_text(json.dumps({"result": {}, "finished": 0.0}))
        assert start.load("finetune", [f"init={name}", *words]).optim.lr == 0.01


def test_the_first_screen_and_cfg_name_the_file_for_the_model_of_the_weights():
    words, file = (
        ["init=random:vit_b16", "protocol=public", "data=cifar10"],
        "conf/recipe/finetune/public/cifar10/vit_b16",
    )
    (line,) = first_screen("finetune", words)
    assert line.startswith(f"recipe: {file}.yaml (Public code: CIFAR-10 with ViT-B_16")
    assert first_screen("finetune", [*words, "optim.lr=0.03"])[1:] == [
        "differs from the recipe: optim.lr=0.03 (there 0.01)"
    ]
    shown = origins.show("finetune", words, start.load("finetune", words)).splitlines()
    assert [line.split()[-1] for line in shown if line.startswith("optim.lr=0.01 ")] == [f"{file}.yaml"]


MARKS = [
    ("pretrain", ["model=vit_l16", "data=imagenet21k", "data.path=/", "seed=3", "runs=x", "micro_batch=8"], []),
    ("pretrain", ["model=vit_l16", "data=imagenet21k", "data.path=/", "batch=1024"], ["batch=1024 (there 4096)"]),
    ("pretrain", ["model=vit_l16", "data=imagenet21k", "data.path=/", "batch=4096", "optim=adamw"], []),
    ("pretrain", ["model=vit_l16", "data=imagenet21k", "data.path=/", "epochs=60"], ["epochs=60 (there 90)"]),
    ("pretrain", ["model=vit_l16", "data=imagenet21k", "data.path=/", "epochs=90.0"], []),
    ("pretrain", ["model=vit_b16", "data=imagenet21k", "data.path=/", "epochs=30"], ["epochs=30 (there 90)"]),
    ("pretrain", ["model=vit_b16", "data=imagenet", "steps=20000"], ["steps=20000 (there epochs=300)"]),
    ("pretrain", ["model=vit_b16", "data=imagenet", "optim=sgd"], ["optim=sgd (there adamw)"]),
    ("pretrain", ["model=vit_b16", "data=imagenet", "data.area=0.08,1"], ["data.area=[0.08,1] (there [0.05,1.0])"]),
    ("pretrain", ["model=vit_s16", "steps=9"], []),  # no recipe, nothing to differ from
    ("finetune", [SCRATCH, "data=cifar10", "protocol=paper", "grid=0.01"],
     ["grid=[0.01] (there [0.001,0.003,0.01,0.03])"]),
    ("eval", [SCRATCH, "data=cifar10"], None),
]  # fmt: skip


@pytest.mark.parametrize("verb, words, changes", MARKS, ids=[" ".join(words) for _, words, _ in MARKS])
def test_the_first_screen_marks_what_differs_from_the_recipe_and_nothing_else(verb, words, changes):
    lines = first_screen(verb, words)
    if changes is None:
        assert lines == []
    else:
        assert lines[0].startswith("recipe: conf/") and lines[1:] == [f"differs from the recipe: {c}" for c in changes]


L16 = ["model=vit_l16", "data=imagenet21k", "data.path=/"]
SHARDS = ["data=shards", "data.path=/", "data.classes=9"]
AUGREG = ["protocol=augreg", "model=vit_s32", "data=imagenet"]
MASKED = ["protocol=masked", "model=vit_b16", *SHARDS]
PUBLIC = ["protocol=public", "data=cifar10"]
BIT = [SCRATCH, "protocol=bit", "data=folder", "data.path=/"]
# The words of a row, those that its paper ran too, and what the row has in their place.
PUBLISHED = [
    ("pretrain", L16, "epochs=30", "90"),
    ("pretrain", ["model=vit_l32", *L16[1:]], "epochs=30", "90"),
    ("pretrain", ["model=vit_l16", *SHARDS], "epochs=14", "7"),
    ("pretrain", ["model=r50_vit_l16", *SHARDS], "epochs=14", "7"),
    ("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet"], "epochs=150", "90"),
    ("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet"], "epochs=300", "90"),
    *(("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet"], word, there)
      for word, there in (("augment=none", "better_vit"), ("batch=4096", "1024"), ("model.head=token", "gap"),
                          ("model.positions=learned", "sincos2d"), ("model.pre_logits=false", "true"))),
    ("pretrain", ["model=bit_r152x2", *SHARDS], "epochs=14", "7"),
    ("pretrain", ["protocol=augreg", *L16], "epochs=30", "300"),
    ("pretrain", ["protocol=augreg", *L16], "augment=medium1", "medium2"),
    ("pretrain", AUGREG, "optim.weight_decay=0.03", "0.1"),
    ("pretrain", AUGREG, "model.dropout=0.1 model.stochastic_depth=0.1", "0.0 0.0"),
    *(("pretrain", AUGREG, f"augment={level}", "medium1")
      for level in ("none", "light1", "light2", "medium2", "strong1", "strong2")),
    ("pretrain", MASKED, "objective.target=colours", "colour"),
    ("pretrain", MASKED, "objective.target=pixels", "colour"),
    ("finetune", [SCRATCH, "protocol=paper", "data=imagenet"], "grid=[0.003,0.01,0.03,0.06]", "[0.003,0.01,0.03]"),
    ("finetune", ["init=random:vit_b32", *PUBLIC], "dropout=0.1", "0.0"),
    ("finetune", ["init=random:vit_l16", *PUBLIC], "dropout=0.0", "0.1"),
    ("finetune", ["init=random:vit_l16", *PUBLIC], "dropout=0", "0.1"),
    ("finetune", ["init=random:vit_b16", *PUBLIC], "steps=500 warmup=50", "10000 500"),
    ("finetune", ["init=random:vit_b16", "protocol=public", "data=cifar100"], "steps=1000 warmup=100", "10000 500"),
    ("finetune", BIT, "steps=10000 warmup=500 drops=[3000,6000,9000] augment.mixup=0.1", "500 100 [200,300,400] 0.0"),
    ("finetune", BIT, "steps=20000 warmup=500 drops=[6000,12000,18000] augment.mixup=0.1", "500 100 [200,300,400] 0.0"),
    ("finetune", BIT, "res=128 data.crop=small_square", "384 square"),
]  # fmt: skip


@pytest.mark.parametrize("verb, row, too, there", PUBLISHED, ids=[f"{row[0]} {too}" for _, row, too, _ in PUBLISHED])
def test_what_the_paper_ran_too_is_marked_as_published(verb, row, too, there):
    told = [f"a published variant: {word} (there {value})" for word, value in zip(too.split(), there.split())]
    assert first_screen(verb, [*row, *too.split()])[1:] == told


def test_whatever_a_file_calls_published_is_among_these():
    files = {file.relative_to(choices.CONF).with_suffix("") for file in choices.CONF.rglob("*.yaml")}
    listed = {words for file in files for words in choices.read_file(str(file)).get("published", ())}
    assert {re.sub(r"_(?=\d)|[\[\]]", "", words) for words in listed} <= {
        re.sub(r"[\[\]]", "", too) for *_, too, _ in PUBLISHED
    }


SOME = [  # of what was published together, or for another row
    ("pretrain", AUGREG, "model.dropout=0.1", "0.0"),
    ("pretrain", AUGREG, "model.dropout=0.1 model.stochastic_depth=0.2", "0.0 0.0"),
    ("pretrain", AUGREG, "epochs=60", "300"),
    ("pretrain", ["model=vit_b16", *L16[1:]], "epochs=30", "90"),
    ("finetune", ["init=random:vit_b16", *PUBLIC], "steps=1000", "10000"),
    ("finetune", ["init=random:vit_b32", *PUBLIC], "steps=1000 warmup=100", "10000 500"),
]


@pytest.mark.parametrize("verb, row, some, there", SOME, ids=[some for _, _, some, _ in SOME])
def test_a_part_of_what_was_published_differs(verb, row, some, there):
    told = [f"differs from the recipe: {word} (there {value})" for word, value in zip(some.split(), there.split())]
    assert first_screen(verb, [*row, *some.split()])[1:] == told
