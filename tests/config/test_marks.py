"""The first lines of a run name what differs from the published recipe."""

import re

import pytest

from helpers.overrides import SCRATCH, list_deviations
from vitrun.recipes import composition

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
    ("pretrain", ["model=vit_s16", "steps=9"], []),  # has no recipe to differ from
    ("finetune", [SCRATCH, "data=cifar10", "protocol=paper_table4", "grid=0.01"],
     ["grid=[0.01] (there [0.001,0.003,0.01,0.03])"]),
    ("eval", [SCRATCH, "data=cifar10"], None),
]  # fmt: skip


@pytest.mark.parametrize("command, overrides, changes", MARKS, ids=[" ".join(overrides) for _, overrides, _ in MARKS])
def test_the_first_lines_mark_exactly_the_differences_from_the_recipe(command, overrides, changes):
    lines = list_deviations(command, overrides)
    if changes is None:
        assert lines == []
    else:
        assert lines[0].startswith("recipe: conf/") and lines[1:] == [f"differs from the recipe: {c}" for c in changes]


L16 = ["model=vit_l16", "data=imagenet21k", "data.path=/"]
SHARDS = ["data=jft300m", "data.path=/", "data.classes=9"]
AUGREG = ["protocol=augreg", "model=vit_s32", "data=imagenet"]
MASKED = ["protocol=masked", "model=vit_b16", *SHARDS]
PUBLIC = ["protocol=public_code", "data=cifar10"]
BIT = [SCRATCH, "protocol=bit_hyperrule", "data=folder", "data.path=/"]
DETR = ["init=random:resnet50", "protocol=detr", "data=coco", "data.path=/"]
# The overrides of a row, variants that its paper ran too, and the row's own values.
PUBLISHED = [
    ("pretrain", L16, "epochs=30", "90"),
    ("pretrain", ["model=vit_l32", *L16[1:]], "epochs=30", "90"),
    ("pretrain", ["model=vit_l16", *SHARDS], "epochs=14", "7"),
    ("pretrain", ["model=r50_vit_l16", *SHARDS], "epochs=14", "7"),
    ("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet"], "epochs=150", "90"),
    ("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet"], "epochs=300", "90"),
    *(("pretrain", ["protocol=better_vit", "model=vit_s16", "data=imagenet"], override, value)
      for override, value in (("augment=none", "better_vit"), ("batch=4096", "1024"), ("model.head=token", "gap"),
                          ("model.positions=learned", "sincos2d"), ("model.pre_logits=false", "true"))),
    ("pretrain", ["model=bit_r152x2", *SHARDS], "epochs=14", "7"),
    ("pretrain", ["protocol=augreg", *L16], "epochs=30", "300"),
    ("pretrain", ["protocol=augreg", *L16], "augment=medium1", "medium2"),
    ("pretrain", AUGREG, "optim.weight_decay=0.03", "0.1"),
    ("pretrain", AUGREG, "model.dropout=0.1 model.stochastic_depth=0.1", "0.0 0.0"),
    *(("pretrain", AUGREG, f"augment={level}", "medium1")
      for level in ("none", "light1", "light2", "medium2", "strong1", "strong2")),
    ("pretrain", ["protocol=scaling_vit", "model=vit_gigantic14", *SHARDS], "batch=32768", "16384"),
    ("pretrain", MASKED, "objective.target=colours", "colour"),
    ("pretrain", ["protocol=igpt"], "objective=pixels_bert", "pixels"),
    ("pretrain", MASKED, "objective.target=pixels", "colour"),
    (
        "finetune",
        [SCRATCH, "protocol=paper_table4", "data=imagenet"],
        "grid=[0.003,0.01,0.03,0.06]",
        "[0.003,0.01,0.03]",
    ),
    ("finetune", ["init=random:vit_b32", *PUBLIC], "dropout=0.1", "0.0"),
    ("finetune", ["init=random:vit_l16", *PUBLIC], "dropout=0.0", "0.1"),
    ("finetune", ["init=random:vit_l16", *PUBLIC], "dropout=0", "0.1"),
    ("finetune", ["init=random:vit_b16", *PUBLIC], "steps=500 warmup=50", "10000 500"),
    (
        "finetune",
        ["init=random:vit_b16", "protocol=public_code", "data=cifar100"],
        "steps=1000 warmup=100",
        "10000 500",
    ),
    ("finetune", BIT, "steps=10000 warmup=500 drops=[3000,6000,9000] augment.mixup=0.1", "500 100 [200,300,400] 0.0"),
    ("finetune", BIT, "steps=20000 warmup=500 drops=[6000,12000,18000] augment.mixup=0.1", "500 100 [200,300,400] 0.0"),
    ("finetune", DETR, "detect.model=detr_r50_dc5", "detr_r50"),
    ("finetune", DETR, "steps=554400 drops=[369600]", "924000 [739200]"),
    ("finetune", ["init=random:resnet101", *DETR[1:]], "detect.model=detr_r101_dc5", "detr_r101"),
    ("finetune", BIT, "res=128 data.crop=small_square", "384 square"),
]  # fmt: skip


@pytest.mark.parametrize("command, row, variants, values", PUBLISHED, ids=[f"{p[1][0]} {p[2]}" for p in PUBLISHED])
def test_variants_that_the_paper_ran_are_marked_as_published(command, row, variants, values):
    expected = [
        f"a published variant: {override} (there {value})" for override, value in zip(variants.split(), values.split())
    ]
    assert list_deviations(command, [*row, *variants.split()])[1:] == expected


def test_every_published_variant_of_a_file_is_tested():
    files = {file.relative_to(composition.CONF).with_suffix("") for file in composition.CONF.rglob("*.yaml")}
    contents = [composition.read_config_file(str(file)) for file in files]
    entries = [entry for content in contents for entry in content.get("by_model", {}).values() if entry]
    listed = {variant for content in (*contents, *entries) for variant in content.get("published", ())}
    assert {re.sub(r"_(?=\d)|[\[\]]", "", variant) for variant in listed} <= {
        re.sub(r"[\[\]]", "", variants) for *_, variants, _ in PUBLISHED
    }


PARTS = [  # of variants published together, or published for another row
    ("pretrain", AUGREG, "model.dropout=0.1", "0.0"),
    ("pretrain", AUGREG, "model.dropout=0.1 model.stochastic_depth=0.2", "0.0 0.0"),
    ("pretrain", AUGREG, "epochs=60", "300"),
    ("pretrain", ["model=vit_b16", *L16[1:]], "epochs=30", "90"),
    ("finetune", ["init=random:vit_b16", *PUBLIC], "steps=1000", "10000"),
    ("finetune", ["init=random:vit_b32", *PUBLIC], "steps=1000 warmup=100", "10000 500"),
]


@pytest.mark.parametrize("command, row, changed, values", PARTS, ids=[changed for _, _, changed, _ in PARTS])
def test_a_part_of_a_published_variant_is_marked_as_different(command, row, changed, values):
    expected = [
        f"differs from the recipe: {override} (there {value})"
        for override, value in zip(changed.split(), values.split())
    ]
    assert list_deviations(command, [*row, *changed.split()])[1:] == expected
