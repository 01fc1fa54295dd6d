"""Published weights of every layout become the published network, and every tensor is accounted for."""

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_models import ROWS, built, images, tiny

from vitrun import models
from vitrun.mistakes import Exit, Mistake
from vitrun.models import positions
from vitrun.models.export.plain import given
from vitrun.models.layouts import hugging_face, jax_bit, jax_vit, timm_names

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"


def reference(test):
    """Mark a test that compares with what the published code gave."""
    absent = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference vectors (../shared/golden) are not here")
    return pytest.mark.shared(absent(test))


def logits(network, pixels):
    """[B, C]."""
    with torch.no_grad():
        return network.eval()(pixels)


def jax_arrays(row, network, rename=lambda name: name, prefix=""):
    """A ViT's arrays as a published ``.npz`` has them."""
    found = given(jax_vit.entries(row), network.state_dict())
    return {prefix + rename(name): tensor.detach().numpy() for name, tensor in found.items()}


def numbered_as_2020(name):
    """The numbering of the files of 2020 and of AugReg."""
    name = name.replace("pos_embedding", "Transformer/posembed_input/pos_embedding")
    name = name.replace("MultiHeadDotProductAttention_0", "MultiHeadDotProductAttention_1")
    return name.replace("LayerNorm_1", "LayerNorm_2").replace("MlpBlock_0", "MlpBlock_3")


@reference
@pytest.mark.parametrize("name", ["vit_token", "vit_token_representation", "hybrid_stage3", "bit_tiny"])
def test_logits_and_features_are_those_of_the_published_code(name):
    arrays = np.load(GOLDEN / f"{name}.npz")
    loaded = models.load(GOLDEN / f"{name}.npz")
    pixels = torch.from_numpy(arrays["io/image_nhwc"]).permute(0, 3, 1, 2)
    tolerance = 2e-5 if name.startswith("vit") else 1e-4
    assert loaded.classes == 10 and (loaded.model.kind == "bit" or loaded.res == pixels.shape[-1])
    assert (logits(loaded.network, pixels) - torch.from_numpy(arrays["io/logits"])).abs().max() < tolerance
    with torch.no_grad():
        features = loaded.network.features(pixels)
    assert (features - torch.from_numpy(arrays["io/features"])).abs().max() < tolerance


@reference
@pytest.mark.parametrize("sizes", [(4, 7), (14, 24), (7, 4)])
def test_resampled_positions_are_those_of_the_published_code(sizes):
    arrays, (old, new) = np.load(GOLDEN / "posemb_zoom.npz"), sizes
    table = positions.resample(torch.from_numpy(arrays[f"io/in_{old}_{new}"]), new, 1)
    assert (table - torch.from_numpy(arrays[f"io/out_{old}_{new}"])).abs().max() < 1e-5


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/", "params/img/"])
@pytest.mark.parametrize("rename", [str, numbered_as_2020], ids=["linen", "2020"])
@pytest.mark.parametrize(
    "options",
    [{}, {"head": "gap"}, {"pre_logits": True}, {"patch": 1, "stem": 32, "resnet": (1, 2)}, {"patch": 4, "stem": 32}],
    ids=["token", "gap", "pre-logits", "hybrid", "stem"],
)
def test_an_npz_of_vision_transformer_is_the_same_network(tmp_path, options, rename, prefix):
    row = tiny(**options)
    network = built(row, res=64)
    np.savez(tmp_path / "w.npz", **jax_arrays(row, network, rename, prefix))
    loaded = models.load(tmp_path / "w.npz")
    assert replace(loaded.model, name="tiny") == row and (loaded.res, loaded.classes) == (64, 5)
    assert torch.equal(logits(loaded.network, images(64)), logits(network, images(64)))


def test_a_group_norm_of_old_files_may_be_wrapped_in_axes_of_one(tmp_path):
    row = tiny(patch=1, stem=32, resnet=(1,))
    network = built(row)
    arrays = jax_arrays(row, network)
    for name in arrays:
        if re.search(r"gn(\d|_root|_proj)/", name):
            arrays[name] = arrays[name][None, None, None]
    np.savez(tmp_path / "w.npz", **arrays)
    assert torch.equal(logits(models.load(tmp_path / "w.npz").network, images()), logits(network, images()))


@pytest.mark.parametrize("inlined", [False, True])
def test_a_map_head_of_big_vision_is_the_same_network(tmp_path, inlined):
    row = tiny(head="map")
    network = built(row)
    np.savez(tmp_path / "w.npz", **jax_arrays(row, network, lambda n: n.replace("MAPHead_0/", "") if inlined else n))
    loaded = models.load(tmp_path / "w.npz")
    assert loaded.model.head == "map"
    assert torch.equal(logits(loaded.network, images()), logits(network, images()))


def test_positions_added_before_the_class_token_are_kept(tmp_path):
    row, network = tiny(), built(tiny())
    with torch.no_grad():
        network.pos_embed[:, 0] = 0
    arrays = jax_arrays(row, network)
    arrays["pos_embedding"] = arrays["pos_embedding"][:, 1:]
    np.savez(tmp_path / "w.npz", **arrays)
    loaded = models.load(tmp_path / "w.npz")
    assert torch.equal(logits(loaded.network, images()), logits(network, images()))
    assert any("before the class token" in line for line in loaded.report.lines())


def test_layers_stacked_by_scan_are_told_apart(tmp_path):
    row, network = tiny(head="gap"), built(tiny(head="gap"))
    arrays = jax_arrays(row, network)
    for name in [name for name in arrays if "encoderblock_0/" in name]:
        layers = [arrays.pop(name.replace("block_0", f"block_{layer}")) for layer in range(row.depth)]
        arrays[name.replace("encoderblock_0", "encoderblock")] = np.stack(layers)
    np.savez(tmp_path / "w.npz", **arrays)
    assert torch.equal(logits(models.load(tmp_path / "w.npz").network, images()), logits(network, images()))


def test_a_file_without_positions_has_the_fixed_ones(tmp_path):
    row = tiny(head="gap", positions="sincos2d")
    network = built(row, res=48)
    np.savez(tmp_path / "w.npz", **{"params/" + name: array for name, array in jax_arrays(row, network).items()})
    loaded = models.load(tmp_path / "w.npz", res=48)
    assert loaded.model.positions == "sincos2d"
    assert torch.equal(logits(loaded.network, images(48)), logits(network, images(48)))


def test_bfloat16_of_big_vision_is_read(tmp_path):
    row, network = tiny(), built(tiny()).bfloat16().float()
    arrays = jax_arrays(row, network)
    for name, array in arrays.items():
        arrays[name] = torch.from_numpy(array).bfloat16().view(torch.int16).numpy().view("V2")
    np.savez(tmp_path / "w.npz", **arrays)
    assert torch.equal(logits(models.load(tmp_path / "w.npz").network, images()), logits(network, images()))


def dumped(name):
    """big_vision's name of a BiT's tensor as the TensorFlow dumps have it."""
    for part, letter in enumerate("abc", 1):
        name = name.replace(f"/conv{part}/", f"/{letter}/standardized_conv2d_{part}/")
        name = name.replace(f"/gn{part}/", f"/{letter}/group_norm/")
    name = name.replace("/conv_proj/", "/a/proj/standardized_conv2d/")
    name = name.replace("root_block/conv_root", "root_block/standardized_conv2d")
    name = name.replace("norm-pre-head", "group_norm").replace("head/", "head/conv2d/")
    return "resnet/" + (name.replace("/scale", "/gamma").replace("/bias", "/beta") if "group_norm" in name else name)


@pytest.mark.parametrize(("border", "rename"), [("zero", dumped), ("none", str), ("none", "params/{}".format)])
def test_a_bit_is_the_same_network_by_the_names_of_both_its_libraries(tmp_path, border, rename):
    row = replace(ROWS["bit_r50x1"], blocks=(1, 2, 1, 1), width_factor=0.5, border=border)
    network = built(row)
    found = given(jax_bit.entries(row), network.state_dict())
    np.savez(tmp_path / "w.npz", **{rename(name): tensor.detach().numpy() for name, tensor in found.items()})
    loaded = models.load(tmp_path / "w.npz", res=32)
    assert replace(loaded.model, name=row.name) == row
    assert torch.equal(logits(loaded.network, images()), logits(network, images()))


def test_rows_of_the_table_are_recognised(tmp_path):
    for name in ("vit_ti4", "r_vit_ti16", "bit_r50x1"):
        network = built(ROWS[name], res=32)
        models.save(tmp_path / "w.safetensors", network, ROWS[name], 5, 32)
        assert models.load(tmp_path / "w.safetensors").model == ROWS[name]
        layout = jax_bit if name.startswith("bit") else jax_vit
        found = given(layout.entries(ROWS[name]), network.state_dict())
        np.savez(tmp_path / "w.npz", **{key: tensor.detach().numpy() for key, tensor in found.items()})
        assert models.load(tmp_path / "w.npz").model.name == name


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "options", [{}, {"head": "map"}, {"patch": 4, "stem": 32}, {"patch": 1, "stem": 32, "resnet": (1, 1)}]
)
def test_a_plain_file_by_timms_names_is_the_same_network(tmp_path, options, suffix):
    row = tiny(width=192, depth=12, mlp=768, **options)  # whose heads the model table tells, as the file does not
    network = built(row)
    write_timm_names(tmp_path / f"w{suffix}", row, network)
    loaded = models.load(tmp_path / f"w{suffix}")
    assert replace(loaded.model, name="tiny") == row
    assert torch.equal(logits(loaded.network, images()), logits(network, images()))


def write_timm_names(path, row, network):
    """A plain state dict as timm has it."""
    from safetensors.torch import save_file

    found = given(timm_names.vit_entries(row, scaled=False), network.state_dict())
    if path.suffix == ".safetensors":
        save_file(found, path)
    else:
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in found.items()}}, path)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"pretrained_cfg": {"tag": "augreg_in21k"}}, "vit"),
        ({"pretrained_cfg": {"tag": "augreg2_in21k_ft_in1k"}}, "timm"),
        ({}, "timm"),
    ],
)
def test_a_folder_of_timms_is_its_own_network_unless_google_published_it(tmp_path, config, kind):
    import timm
    from safetensors.torch import save_file

    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224", **config}))
    loaded = models.load(tmp_path)
    assert (loaded.model.kind, loaded.res) == (kind, 224) and len(loaded.report.lines()) == 4
    difference = (logits(loaded.network, images(224)) - logits(theirs, images(224))).abs().max()
    assert difference < 1e-6 if kind == "timm" else 1e-6 < difference < 1e-3  # GELU: the exact form, the tanh form


@pytest.mark.parametrize("names", ["files", "memory"])
def test_weights_of_transformers_are_the_same_network(tmp_path, names):
    from safetensors.torch import save_file

    row, network = tiny(), built(tiny())
    found = given(hugging_face.entries(row), network.state_dict())
    found = {name if name.startswith("classifier") else f"vit.{name}": tensor for name, tensor in found.items()}
    if names == "memory":  # transformers 5 renamed its modules and writes files by the older names
        renames = [("encoder.layer.", "layers."), ("attention.attention.query", "attention.q_proj")]
        renames += [("attention.attention.key", "attention.k_proj"), ("attention.attention.value", "attention.v_proj")]
        renames += [
            ("attention.output.dense", "attention.o_proj"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
        ]
        for old, new in renames:
            found = {name.replace(old, new): tensor for name, tensor in found.items()}
    save_file(found, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        json.dumps({"num_attention_heads": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-12})
    )
    loaded = models.load(tmp_path)
    assert torch.equal(logits(loaded.network, images()), logits(network, images()))
    assert "GELU" in loaded.report.lines()[4] and "1e-12" in loaded.report.lines()[5]


def test_images_of_another_mean_are_folded_into_the_patches(tmp_path):
    from safetensors.torch import save_file

    row, network = tiny(), built(tiny())
    save_file(given(hugging_face.entries(row), network.state_dict()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3}))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": std}))
    theirs = ((images() + 1) / 2 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(
        logits(models.load(tmp_path).network, images()), logits(network, theirs), atol=1e-5, rtol=1e-5
    )


def test_a_base_model_of_transformers_brings_its_pooler_as_the_pre_logits_layer(tmp_path):
    from safetensors.torch import save_file

    row, network = tiny(pre_logits=True), built(tiny(pre_logits=True))
    found = given(hugging_face.entries(row), network.state_dict())
    save_file(
        {name: tensor for name, tensor in found.items() if not name.startswith("classifier")},
        tmp_path / "m.safetensors",
    )
    with pytest.raises(Mistake, match="how many heads"):
        models.load(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").rename(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3}))
    with pytest.raises(Mistake, match="without a head"):
        models.load(tmp_path)
    assert not models.load(tmp_path, classes=7).model.pre_logits


@pytest.mark.parametrize("kind", ["learned", "2d", "relative", "sincos2d", "none"])
@pytest.mark.parametrize("at", ["stem", "every"])
def test_our_own_file_stands_alone(tmp_path, kind, at):
    row = tiny(positions=kind, positions_at=at, dropout=0.1, stochastic_depth=0.2, head="map", pre_logits=True)
    network = built(row)
    models.save(tmp_path / "w.safetensors", network, row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors")
    assert (loaded.model, loaded.classes, loaded.res) == (row, 5, 32)
    assert loaded.report.lines()[1:] == ["resized 0", "dropped 0", "new 0"]
    assert torch.equal(logits(loaded.network, images()), logits(network, images()))
    other = built(row, seed=9)
    models.fill(other, tmp_path / "w.safetensors")
    assert torch.equal(logits(other, images()), logits(network, images()))


def test_a_baseline_of_timm_keeps_its_weights_and_what_images_it_takes(tmp_path):
    row = replace(ROWS["timm"], name="convnext_atto")
    network = built(row, res=64)
    network.trained_on([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    models.save(tmp_path / "w.safetensors", network, row, 5, 64)
    loaded = models.load(tmp_path / "w.safetensors")
    assert loaded.model == row
    assert torch.equal(logits(loaded.network, images(64)), logits(network, images(64)))
    again = models.load(tmp_path / "w.safetensors", classes=3, res=96)
    assert logits(again.network, images(96)).shape == (2, 3)
    assert again.report.lines()[2:] == ["dropped 2: head of 5 classes (2)", "new 2: zero head of 3 classes (2)"]


def test_a_baseline_of_timm_changes_its_resolution_by_timms_means(tmp_path):
    row = replace(ROWS["timm"], name="deit_tiny_patch16_224")
    network = built(row, res=32)
    models.save(tmp_path / "w.safetensors", network, row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors", res=48)
    assert loaded.report.lines()[1] == "resized 1: for 48 by timm (1)"
    assert logits(loaded.network, images(48)).shape == (2, 5)


def test_a_new_head_and_resolution_are_told_with_counts_and_sizes(tmp_path):
    row, network = tiny(pre_logits=True), built(tiny(pre_logits=True))
    np.savez(tmp_path / "w.npz", **jax_arrays(row, network), **{"io/logits": np.zeros(3)})
    loaded = models.load(tmp_path / "w.npz", classes=3, res=56)
    assert loaded.report.lines() == [
        "kept 29 tensors of vit_48x2p8, 48 wide",
        "resized 1: position table 4x4 -> 7x7 (1)",
        "dropped 5: pre-logits layer (2), head of 5 classes (2), inputs and outputs (1)",
        "new 2: zero head of 3 classes (2)",
    ]
    assert not loaded.network.head.weight.any() and not loaded.network.head.bias.any()
    assert not loaded.model.pre_logits and loaded.network.pos_embed.shape == (1, 50, 48)
    assert not any(parameter.is_meta or not parameter.requires_grad for parameter in loaded.network.parameters())


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("2d", "resized 2: rows and columns 4 -> 6 (2)"),
        ("relative", "resized 1: relative offsets 33 -> 73 (1)"),
        ("learned", "resized 1: position table 4x4 -> 6x6 (1)"),
    ],
)
def test_every_kind_of_positions_follows_the_resolution(tmp_path, kind, told):
    row = tiny(positions=kind, positions_at="every")
    models.save(tmp_path / "w.safetensors", built(row), row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors", res=48)
    assert told == loaded.report.lines()[1]
    assert logits(loaded.network, images(48)).shape == (2, 5)


def test_fixed_positions_are_computed_for_the_new_resolution(tmp_path):
    row = tiny(positions="sincos2d")
    models.save(tmp_path / "w.safetensors", built(row), row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors", res=48)
    assert torch.equal(loaded.network.pos_embed, models.build(row, 5, 48).pos_embed)


def test_a_head_of_zeros_is_told(tmp_path):
    row = tiny()
    models.save(tmp_path / "w.safetensors", models.build(row, 5, 32), row, 5, 32)
    assert "all zeros" in models.load(tmp_path / "w.safetensors").report.lines()[-1]


def test_tensors_left_over_or_lacking_are_named(tmp_path):
    row, network = tiny(), built(tiny())
    arrays = jax_arrays(row, network)
    np.savez(tmp_path / "w.npz", **arrays, register_token=np.zeros(3))
    with pytest.raises(Mistake, match="vit_48x2p8, 48 wide, which has no place for register_token") as mistake:
        models.load(tmp_path / "w.npz")
    assert mistake.value.status == Exit.CHECKPOINT
    del arrays["Transformer/encoder_norm/scale"]
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(Mistake, match="lack Transformer/encoder_norm/scale"):
        models.load(tmp_path / "w.npz")


def test_weights_of_another_network_are_told_by_name(tmp_path):
    models.save(tmp_path / "w.safetensors", built(ROWS["vit_ti4"], res=8), ROWS["vit_ti4"], 5, 8)
    with pytest.raises(Mistake, match=r"these weights are vit_ti4, 192 wide; the network is tiny, 48 wide") as mistake:
        models.fill(built(tiny()), tmp_path / "w.safetensors")
    assert mistake.value.status == Exit.CHECKPOINT


def test_a_saved_file_has_the_permissions_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        models.save(tmp_path / "w.safetensors", built(tiny()), tiny(), 5, 32)
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]
    assert json.loads(models.read(tmp_path / "w.safetensors").facts["vitrun"])["model"] == asdict(tiny()) | {
        "resnet": []
    }


def test_dropout_is_set_in_all_its_places():
    row = tiny()
    loaded = models.Loaded(built(row), row, 5, 32, None)
    dropped = models.with_dropout(loaded, 0.25)
    anew = [module.p for module in built(replace(row, dropout=0.25)).modules() if isinstance(module, torch.nn.Dropout)]
    assert [m.p for m in dropped.network.modules() if isinstance(m, torch.nn.Dropout)] == anew and set(anew) == {0.25}
    assert dropped.model.dropout == 0.25 and models.with_dropout(dropped, None) is dropped
    with pytest.raises(Mistake, match="is for vision transformers"):
        models.with_dropout(replace(loaded, model=ROWS["bit_r50x1"]), 0.1)
