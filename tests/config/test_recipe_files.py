"""The values of the recipe files equal the published tables."""

import pytest

from helpers.overrides import SCRATCH, finetune_overrides, list_deviations, pretrain_overrides
from vitrun.config import expand, resolve
from vitrun.engine import optim
from vitrun.recipes import trees

VITS = ("vit_b16", "vit_b32", "vit_l16", "vit_l32")
HYBRIDS = ("r50_vit_b16", "r50_vit_b32", "r50_vit_l16", "r50_vit_l32")
# Table 3 of arXiv 2010.11929: models, data, epochs, learning rate, decay, weight decay, dropout, clip (caption).
TABLE3 = [
    (("vit_b16", "vit_b32"), "jft300m", 7, 8e-4, "linear", 0.1, 0.0, None),
    (("vit_l32",), "jft300m", 7, 6e-4, "linear", 0.1, 0.0, None),
    (("vit_l16",), "jft300m", 7, 4e-4, "linear", 0.1, 0.0, None),
    (("vit_h14",), "jft300m", 14, 3e-4, "linear", 0.1, 0.0, None),
    (("bit_r50x1", "bit_r50x2"), "jft300m", 7, 1e-3, "linear", 0.1, 0.0, None),
    (("bit_r101x1",), "jft300m", 7, 8e-4, "linear", 0.1, 0.0, None),
    (("bit_r152x1", "bit_r152x2"), "jft300m", 7, 6e-4, "linear", 0.1, 0.0, None),
    (("r50_vit_b16", "r50_vit_b32"), "jft300m", 7, 8e-4, "linear", 0.1, 0.0, None),
    (("r50_vit_l32",), "jft300m", 7, 2e-4, "linear", 0.1, 0.0, None),
    (("r50_vit_l16",), "jft300m", 7, 4e-4, "linear", 0.1, 0.0, None),
    ((*VITS, *HYBRIDS), "imagenet21k", 90, 1e-3, "linear", 0.03, 0.1, None),
    ((*VITS, "vit_h14", *HYBRIDS), "imagenet", 300, 3e-3, "cosine", 0.3, 0.1, 1.0),
]
ROWS = [(model, *row) for models, *row in TABLE3 for model in models]
# AugReg's levels (RandAugment's layers and magnitude, mixup), and big_vision's choice for ImageNet and ImageNet-21k.
LEVELS = {
    "none": (0, 0, 0),
    "light1": (2, 0, 0),
    "light2": (2, 10, 0.2),
    "medium1": (2, 15, 0.2),
    "medium2": (2, 15, 0.5),
    "strong1": (2, 20, 0.5),
    "strong2": (2, 20, 0.8),
}
AUGREG = {
    "vit_ti16": ("light1", "none"),
    "vit_s32": ("medium1", "none"),
    "vit_s16": ("medium2", "light1"),
    "vit_b32": ("medium2", "light2"),
    "vit_b16": ("medium2", "light2"),
    "vit_l16": ("medium2", "medium2"),
}
# Table 4: steps, learning rates, share held out; and the public code's warm-up and learning rate.
TABLE4 = {
    "imagenet": (20_000, (0.003, 0.01, 0.03), 0.01, 500, 0.03),
    "cifar100": (10_000, (0.001, 0.003, 0.01, 0.03), 0.02, 500, 0.03),
    "cifar10": (10_000, (0.001, 0.003, 0.01, 0.03), 0.02, 500, 0.03),
    "pets": (500, (0.001, 0.003, 0.01, 0.03), 0.1, 100, 0.003),
    "flowers102": (500, (0.001, 0.003, 0.01, 0.03), 0.1, 100, 0.003),
}
# BiT-HyperRule (arXiv 1912.11370, section 3.3): steps, warm-up, drops, mixup, resolution.
HYPER_RULE = {
    "pets": (500, 100, (200, 300, 400), 0, 384),
    "flowers102": (500, 100, (200, 300, 400), 0, 384),
    "cifar10": (10_000, 500, (3_000, 6_000, 9_000), 0.1, 128),
    "cifar100": (10_000, 500, (3_000, 6_000, 9_000), 0.1, 128),
    "imagenet": (20_000, 500, (6_000, 12_000, 18_000), 0.1, 384),
    "vtab/svhn": (500, 100, (200, 300, 400), 0, 128),
    "vtab/pets": (500, 100, (200, 300, 400), 0, 384),
}


@pytest.mark.parametrize("row", ROWS, ids=[f"{model}-{data}" for model, data, *_ in ROWS])
def test_pretraining_takes_the_row_of_table_3_by_itself(row):
    model, data, epochs, lr, schedule, decay, dropout, clip = row
    overrides = pretrain_overrides(data, model)
    recipe = resolve.resolve_recipe("pretrain", overrides)
    assert (recipe.epochs, recipe.steps, recipe.batch, recipe.warmup, recipe.res) == (epochs, None, 4096, 10_000, 224)
    assert (recipe.optim.lr, recipe.schedule, recipe.clip, recipe.loss) == (lr, schedule, clip, "sigmoid")
    assert (recipe.optim.kind, recipe.optim.weight_decay, recipe.optim.betas) == ("adamw", decay, (0.9, 0.999))
    assert recipe.schedule_end == (1e-5 if data == "imagenet21k" else 0)
    if recipe.model.kind == "vit":
        assert (recipe.model.dropout, recipe.model.pre_logits) == (dropout, True)
    (line,) = list_deviations("pretrain", overrides)
    assert line.startswith(f"recipe: conf/recipe/pretrain/paper_table3/{data}.yaml (Table 3: ")


@pytest.mark.parametrize("data, model", [
    ("imagenet21k", "vit_h14"), ("imagenet21k", "bit_r50x1"), ("imagenet", "swin_b"), ("imagenet", "bit_r152x2"),
    ("jft300m", "bit_r200x3"), ("jft300m", "vit_s16"), ("shapes", "vit_ti16"), ("cifar10", "vit_ti4"),
    ("shapes", "vit_nano8"),
])  # fmt: skip
def test_a_run_without_a_row_in_table_3_composes_and_its_first_lines_say_so(data, model):
    overrides = pretrain_overrides(data, model)
    assert resolve.resolve_recipe("pretrain", overrides).protocol == (
        "paper_table3" if data.startswith("image") or "bit" in model else "small"
    )
    assert "no row" in list_deviations("pretrain", overrides)[0].lower()


@pytest.mark.parametrize("model", AUGREG)
@pytest.mark.parametrize("data", ["imagenet", "imagenet21k"])
def test_augreg_augments_each_model_as_big_vision_does(data, model):
    level = AUGREG[model][data == "imagenet21k"]
    recipe = resolve.resolve_recipe("pretrain", pretrain_overrides(data, model, "protocol=augreg"))
    assert (recipe.augment.layers, recipe.augment.magnitude, recipe.augment.mixup) == LEVELS[level]
    assert (recipe.epochs, recipe.batch, recipe.warmup, recipe.schedule, recipe.clip) == (
        300,
        4096,
        10_000,
        "cosine",
        1,
    )
    assert (recipe.optim.lr, recipe.optim.weight_decay, recipe.loss) == (1e-3, 0.1, "sigmoid")
    assert (recipe.head_bias, recipe.model.pre_logits) == ((-6.9, True) if data == "imagenet" else (None, False))


@pytest.mark.parametrize("level", ["none", "medium2", "strong2"])
def test_an_override_of_the_augmentation_level_is_marked(level):
    overrides = pretrain_overrides(
        "imagenet", "vit_b16", "protocol=augreg", f"augment={level}", "model.stochastic_depth=0.1"
    )
    augment = resolve.resolve_recipe("pretrain", overrides).augment
    assert (augment.layers, augment.magnitude, augment.mixup) == LEVELS[level]
    lines = list_deviations("pretrain", overrides)[1:]
    assert (f"a published variant: augment={level} (there medium2)" in lines) == (level != "medium2")
    assert "differs from the recipe: model.stochastic_depth=0.1 (there 0.0)" in lines


@pytest.mark.parametrize("epochs", [90, 150, 300])
def test_better_vit_has_the_values_of_its_authors(epochs):
    recipe = resolve.resolve_recipe(
        "pretrain", pretrain_overrides("imagenet", "vit_s16", "protocol=better_vit", f"epochs={epochs}")
    )
    assert (recipe.epochs, recipe.batch, recipe.warmup, recipe.schedule) == (epochs, 1024, 10_000, "cosine")
    assert (recipe.model.head, recipe.model.positions, recipe.model.pre_logits) == ("gap", "sincos2d", True)
    assert (recipe.augment.layers, recipe.augment.magnitude, recipe.augment.mixup) == (2, 10, 0.2)
    assert (recipe.loss, recipe.clip, recipe.optim.lr, recipe.smoothing) == ("softmax", 1, 1e-3, 0)
    assert optim.convert_weight_decay(recipe.optim, recipe.optim.weight_decay) == pytest.approx(0.1), (
        "1e-4 in big_vision's units"
    )
    assert round(recipe.res / recipe.view.crop) == 256 and recipe.view.resize == "small_area"


def test_masked_patches_are_trained_as_in_the_paper():
    recipe = resolve.resolve_recipe("pretrain", pretrain_overrides("jft300m", "vit_b16", "protocol=masked"))
    assert (recipe.objective.kind, recipe.steps, recipe.batch, recipe.warmup) == ("masked", 1_000_000, 4096, 10_000)
    assert (recipe.optim.lr, recipe.schedule) == (2e-4, "cosine")
    overrides = pretrain_overrides("jft300m", "vit_b16", "protocol=masked", "objective=simmim")
    assert resolve.resolve_recipe("pretrain", overrides).objective.kind == "simmim"
    assert "differs from the recipe: objective=simmim (there masked)" in list_deviations("pretrain", overrides)


@pytest.mark.parametrize("data", TABLE4)
def test_fine_tuning_protocols_have_the_values_of_table_4_and_of_the_public_code(data):
    steps, grid, dev, warmup, lr = TABLE4[data]
    recipe = resolve.resolve_recipe("finetune", finetune_overrides(data, "protocol=paper_table4"))
    assert (recipe.steps, recipe.grid, recipe.dev, recipe.seeds) == (steps, grid, dev, (0, 1, 2))
    public = resolve.resolve_recipe("finetune", finetune_overrides(data, "protocol=public_code"))
    assert (public.steps, public.grid, public.dev, public.seeds, public.optim.lr) == (steps, (), dev, (), lr)
    for one in (recipe, public):
        assert (one.res, one.batch, one.warmup, one.schedule, one.clip) == (384, 512, warmup, "cosine", 1)
        assert (one.optim.kind, one.optim.momentum, one.optim.weight_decay) == ("sgd", 0.9, 0)
        assert (one.loss, one.ema, one.data.area) == ("softmax", None, (0.05, 1))


def test_table_2_is_table_4_at_512_pixels_with_a_polyak_average():
    paper, table2 = (
        resolve.resolve_recipe("finetune", finetune_overrides("imagenet", f"protocol={p}"))
        for p in ("paper_table4", "paper_table2")
    )
    tree = trees.to_plain_tree(table2)
    assert (tree["res"], tree["ema"]) == (512, 0.9999)
    assert tree | {"res": 384, "ema": None, "protocol": "paper_table4"} == trees.to_plain_tree(paper)


@pytest.mark.parametrize("data", ["vtab", "vtab/pets", "vtab/dspr_ori"])
def test_vtab_has_one_setting_for_all_tasks(data):
    overrides = finetune_overrides(data, "protocol=paper_vtab")
    recipe = resolve.resolve_recipe("finetune", overrides)
    assert (recipe.steps, recipe.batch, recipe.optim.lr, recipe.res, recipe.seeds) == (2500, 512, 0.01, 384, (0, 1, 2))
    assert recipe.data.protocol == "vit" and not recipe.grid
    assert list_deviations("finetune", overrides)[0].startswith("recipe: conf/protocol/paper_vtab.yaml (VTAB-1k as ")
    large = resolve.resolve_recipe("finetune", ["init=random:vit_h14", *overrides[1:]])
    assert large.res == 378 and trees.to_plain_tree(large) | {"res": 384, "init": SCRATCH[5:]} == trees.to_plain_tree(
        recipe
    )


@pytest.mark.parametrize("data", ["vtab", "vtab/pets"])
def test_prompt_tuning_chooses_among_sixteen_and_has_five_seeds(data):
    overrides = finetune_overrides(data, "protocol=vpt_vtab")
    recipe = resolve.resolve_recipe("finetune", overrides)
    assert [lr * 256 / recipe.batch for lr in recipe.grid] == pytest.approx([1e-4, 5e-4, 1e-3, 5e-3])
    assert recipe.decays == (0, 1e-4, 1e-3, 1e-2) and recipe.seeds == (42, 44, 82, 100, 800)
    assert (recipe.optim.kind, recipe.epochs, recipe.warmup, recipe.res) == ("adamw", 100, "5%", 224)
    for one in expand.expand_suite(recipe).values() if data == "vtab" else [recipe]:
        assert (one.data.protocol, one.data.crop, one.data.flip) == ("vpt", "none", False)
    assert list_deviations("finetune", overrides)[0].startswith("recipe: conf/protocol/vpt_vtab.yaml (VTAB-1k as ")


@pytest.mark.parametrize("data", HYPER_RULE)
def test_bit_hyper_rule_has_the_values_of_its_paper(data):
    recipe = resolve.resolve_recipe("finetune", finetune_overrides(data, "protocol=bit_hyperrule"))
    values = recipe.steps, recipe.warmup, recipe.drops, recipe.augment.mixup, recipe.res
    assert values == HYPER_RULE[data]
    assert (recipe.schedule, recipe.optim.lr, recipe.batch, recipe.optim.weight_decay) == ("staircase", 0.003, 512, 0)
    assert recipe.data.crop == ("small_square" if recipe.res == 128 else "square") and recipe.clip is None


SCALING = {"vit_xs28": 4096, "vit_s16": 4096, "vit_b28": 4096, "vit_l16": 4096, "vit_giant14": 16_384}


@pytest.mark.parametrize("model", [*SCALING, "vit_gigantic14"])
def test_scaling_vit_has_the_values_of_its_paper_and_code(model):
    overrides = ["protocol=scaling_vit", "data=jft300m", f"model={model}", "data.classes=29593"]
    recipe = resolve.resolve_recipe("pretrain", overrides, running=False)
    assert (recipe.batch, recipe.steps, recipe.res, recipe.clip) == (SCALING.get(model, 16_384), 1_000_000, 224, 1.0)
    assert (recipe.warmup, recipe.schedule, recipe.timescale, recipe.cooldown) == (10_000, "rsqrt", 10_000, 50_000)
    options = recipe.optim
    assert (options.kind, options.lr, options.weight_decay, options.head_decay) == ("adafactor", 8e-4, 0.03, 3.0)
    assert (options.decay, options.momentum, options.max_decay) == ("kernels", 0.9, 0.999)
    assert (recipe.loss, recipe.head_bias, recipe.model.head) == ("sigmoid", None, "map")


NOISY = {  # model: resolution, dropout, magnitude of RandAugment (google-research/noisystudent)
    "b0": (224, 0.2, 0), "b1": (240, 0.2, 0), "b2": (260, 0.3, 6), "b3": (300, 0.3, 12), "b4": (380, 0.4, 15),
    "b5": (456, 0.4, 18), "b6": (528, 0.5, 24), "b7": (600, 0.5, 27), "l2": (475, 0.5, 27),
}  # fmt: skip


@pytest.mark.parametrize("model", NOISY)
def test_noisy_student_has_the_values_of_its_code_for_each_model(model):
    overrides = ["protocol=noisy_student", "data=imagenet", f"model=efficientnet_{model}"][: 2 if model == "b0" else 3]
    recipe = resolve.resolve_recipe("pretrain", overrides, running=False)
    assert (recipe.res, recipe.model.dropout, recipe.augment.magnitude) == NOISY[model]
    assert (recipe.model.stochastic_depth, recipe.model.options) == (0.2, {"bn_momentum": 0.01})
    assert recipe.view.crop == pytest.approx(recipe.res / (recipe.res + 32), rel=1e-6)
    long = model in ("b0", "b1", "b2", "b3", "b4")
    assert recipe.epochs == (700 if long else 350)
    shares = [float(share.rstrip("%")) / 100 * recipe.epochs for share in (recipe.drop_every, recipe.warmup)]
    assert shares == pytest.approx([4.8 if long else 2.4, 5], rel=1e-5)
    options = recipe.optim
    assert (options.lr / recipe.batch, recipe.drop_factor, recipe.ema) == (0.016 / 256, 0.97, 0.9999)
    assert (options.square_decay, options.momentum, options.epsilon, options.weight_decay) == (0.9, 0.9, 1e-3, 1e-5)
    pseudo, ratio = recipe.pseudo, {"b0": 1, "l2": 14}.get(model, 3)
    assert (pseudo.ratio, pseudo.weight, pseudo.threshold, pseudo.per_class) == (ratio, ratio, 0.3, 130_000)
    assert (pseudo.labels, pseudo.temperature, recipe.teacher) == ("soft", 1.0, None)
    assert (recipe.smoothing, recipe.clip, recipe.data.area) == (0.1, None, (0.08, 1.0))


def test_the_resolution_fix_keeps_the_head_and_fixes_shallow_layers():
    init = "init=timm:tf_efficientnet_l2.ns_jft_in1k_475"
    recipe = resolve.resolve_recipe("finetune", ["protocol=fixres", init, "data=imagenet"], running=False)
    assert (recipe.res, recipe.epochs, recipe.head, recipe.augment.layers) == (800, 1.5, "keep", 0)
    assert recipe.freeze[0] == "conv_stem" and recipe.data.crop == "none" and not recipe.data.flip
