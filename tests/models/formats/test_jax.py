"""Published weights of JAX and of BiT load as the published network, and every tensor is used or reported."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, compute_logits, make_inputs, tiny_vit_row, to_jax_arrays
from helpers.paths import SHARED
from vitrun import models
from vitrun.models import positions
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import jax_bit

GOLDEN = SHARED / "golden"


def reference(test):
    """Return the mark of a test that compares with outputs of the published code."""
    absent = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference vectors (../shared/golden) are not here")
    return pytest.mark.shared(absent(test))


def name_of_2020(name):
    """Return a tensor's name in the files of 2020 and of AugReg."""
    name = name.replace("pos_embedding", "Transformer/posembed_input/pos_embedding")
    name = name.replace("MultiHeadDotProductAttention_0", "MultiHeadDotProductAttention_1")
    return name.replace("LayerNorm_1", "LayerNorm_2").replace("MlpBlock_0", "MlpBlock_3")


@reference
@pytest.mark.parametrize("name", ["vit_token", "vit_token_representation", "hybrid_stage3", "bit_tiny"])
def test_logits_and_features_equal_those_of_the_published_code(name):
    arrays = np.load(GOLDEN / f"{name}.npz")
    loaded = models.load(GOLDEN / f"{name}.npz")
    pixels = torch.from_numpy(arrays["io/image_nhwc"]).permute(0, 3, 1, 2)
    tolerance = 2e-5 if name.startswith("vit") else 1e-4
    assert loaded.classes == 10 and (loaded.model.kind == "bit" or loaded.res == pixels.shape[-1])
    assert (compute_logits(loaded.network, pixels) - torch.from_numpy(arrays["io/logits"])).abs().max() < tolerance
    with torch.no_grad():
        features = loaded.network.features(pixels)
    assert (features - torch.from_numpy(arrays["io/features"])).abs().max() < tolerance


@reference
@pytest.mark.parametrize("sizes", [(4, 7), (14, 24), (7, 4)])
def test_resampled_positions_equal_those_of_the_published_code(sizes):
    arrays, (old, new) = np.load(GOLDEN / "posemb_zoom.npz"), sizes
    table = positions.resample_grid(torch.from_numpy(arrays[f"io/in_{old}_{new}"]), new, 1)
    assert (table - torch.from_numpy(arrays[f"io/out_{old}_{new}"])).abs().max() < 1e-5


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/", "params/img/"])
@pytest.mark.parametrize("rename", [str, name_of_2020], ids=["linen", "2020"])
@pytest.mark.parametrize(
    "options",
    [{}, {"head": "gap"}, {"pre_logits": True}, {"patch": 1, "stem": 32, "resnet": (1, 2)}, {"patch": 4, "stem": 32}],
    ids=["token", "gap", "pre-logits", "hybrid", "stem"],
)
def test_an_npz_of_vision_transformer_loads_as_the_same_network(tmp_path, options, rename, prefix):
    row = tiny_vit_row(**options)
    network = build_randomized(row, res=64)
    np.savez(tmp_path / "w.npz", **to_jax_arrays(row, network, rename, prefix))
    loaded = models.load(tmp_path / "w.npz")
    assert replace(loaded.model, name="tiny") == row and (loaded.res, loaded.classes) == (64, 5)
    assert torch.equal(compute_logits(loaded.network, make_inputs(64)), compute_logits(network, make_inputs(64)))


def test_group_norms_of_old_files_with_extra_axes_are_loaded(tmp_path):
    row = tiny_vit_row(patch=1, stem=32, resnet=(1,))
    network = build_randomized(row)
    arrays = to_jax_arrays(row, network)
    for name in arrays:
        if re.search(r"gn(\d|_root|_proj)/", name):
            arrays[name] = arrays[name][None, None, None]
    np.savez(tmp_path / "w.npz", **arrays)
    assert torch.equal(
        compute_logits(models.load(tmp_path / "w.npz").network, make_inputs()), compute_logits(network, make_inputs())
    )


@pytest.mark.parametrize("inlined", [False, True])
def test_a_map_head_of_big_vision_loads_as_the_same_network(tmp_path, inlined):
    row = tiny_vit_row(head="map")
    network = build_randomized(row)
    np.savez(tmp_path / "w.npz", **to_jax_arrays(row, network, lambda n: n.replace("MAPHead_0/", "") if inlined else n))
    loaded = models.load(tmp_path / "w.npz")
    assert loaded.model.head == "map"
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))


def test_positions_added_before_the_class_token_are_loaded(tmp_path):
    row, network = tiny_vit_row(), build_randomized(tiny_vit_row())
    with torch.no_grad():
        network.pos_embed[:, 0] = 0
    arrays = to_jax_arrays(row, network)
    arrays["pos_embedding"] = arrays["pos_embedding"][:, 1:]
    np.savez(tmp_path / "w.npz", **arrays)
    loaded = models.load(tmp_path / "w.npz")
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))
    assert any("before the class token" in line for line in loaded.report.lines())


def test_layers_stacked_by_scan_are_unstacked(tmp_path):
    row, network = tiny_vit_row(head="gap"), build_randomized(tiny_vit_row(head="gap"))
    arrays = to_jax_arrays(row, network)
    for name in [name for name in arrays if "encoderblock_0/" in name]:
        layers = [arrays.pop(name.replace("block_0", f"block_{layer}")) for layer in range(row.depth)]
        arrays[name.replace("encoderblock_0", "encoderblock")] = np.stack(layers)
    np.savez(tmp_path / "w.npz", **arrays)
    assert torch.equal(
        compute_logits(models.load(tmp_path / "w.npz").network, make_inputs()), compute_logits(network, make_inputs())
    )


def test_a_file_without_positions_gets_the_fixed_ones(tmp_path):
    row = tiny_vit_row(head="gap", positions="sincos2d")
    network = build_randomized(row, res=48)
    np.savez(tmp_path / "w.npz", **{"params/" + name: array for name, array in to_jax_arrays(row, network).items()})
    loaded = models.load(tmp_path / "w.npz", res=48)
    assert loaded.model.positions == "sincos2d"
    assert torch.equal(compute_logits(loaded.network, make_inputs(48)), compute_logits(network, make_inputs(48)))


def test_bfloat16_tensors_of_big_vision_are_read(tmp_path):
    row, network = tiny_vit_row(), build_randomized(tiny_vit_row()).bfloat16().float()
    arrays = to_jax_arrays(row, network)
    for name, array in arrays.items():
        arrays[name] = torch.from_numpy(array).bfloat16().view(torch.int16).numpy().view("V2")
    np.savez(tmp_path / "w.npz", **arrays)
    assert torch.equal(
        compute_logits(models.load(tmp_path / "w.npz").network, make_inputs()), compute_logits(network, make_inputs())
    )


def tensorflow_name(name):
    """Return the name of a BiT tensor in the TensorFlow dumps, given that of big_vision."""
    for part, letter in enumerate("abc", 1):
        name = name.replace(f"/conv{part}/", f"/{letter}/standardized_conv2d_{part}/")
        name = name.replace(f"/gn{part}/", f"/{letter}/group_norm/")
    name = name.replace("/conv_proj/", "/a/proj/standardized_conv2d/")
    name = name.replace("root_block/conv_root", "root_block/standardized_conv2d")
    name = name.replace("norm-pre-head", "group_norm").replace("head/", "head/conv2d/")
    return "resnet/" + (name.replace("/scale", "/gamma").replace("/bias", "/beta") if "group_norm" in name else name)


@pytest.mark.parametrize(("border", "rename"), [("zero", tensorflow_name), ("none", str), ("none", "params/{}".format)])
def test_a_bit_loads_as_the_same_network_from_the_names_of_both_libraries(tmp_path, border, rename):
    row = replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 2, 1, 1), width_factor=0.5, border=border)
    network = build_randomized(row)
    arrays = export_tensors(jax_bit.map_tensors(row), network.state_dict())
    np.savez(tmp_path / "w.npz", **{rename(name): tensor.detach().numpy() for name, tensor in arrays.items()})
    loaded = models.load(tmp_path / "w.npz", res=32)
    assert replace(loaded.model, name=row.name) == row
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))
