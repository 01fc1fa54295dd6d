"""An exported model gives the same logits in the other library, and again when vitrun loads it."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.errors import UserError
from vitrun.models.export import Target, export_model

HYBRID = tiny_vit_row(patch=1, stem=64, resnet=(2, 2, 2, 2))
STEM = tiny_vit_row(patch=4, stem=64)
SMALL_BIT = replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 1, 1, 1), width_factor=0.5)


def compute_logits(network, pixels):
    """Return the logits [B, C] in evaluation mode."""
    with torch.no_grad():
        return network.eval()(pixels)


def largest_difference(one, other):
    """Return the largest absolute difference."""
    return (one - other).abs().max().item()


@pytest.mark.parametrize(
    "row",
    [
        tiny_vit_row(),
        tiny_vit_row(head="gap"),
        tiny_vit_row(head="map", mlp=100),
        tiny_vit_row(positions="2d"),
        tiny_vit_row(positions="none"),
        HYBRID,
        STEM,
        tiny_vit_row(gelu="exact", epsilon=1e-12),
        tiny_vit_row(gelu="quick", epsilon=1e-3, norm_pre=True, head="map"),
    ],
    ids=["token", "gap", "map", "2d", "none", "hybrid", "stem", "exact", "clip"],
)
def test_timm_loads_the_folder_and_gives_the_same_logits(tmp_path, row):
    import timm

    network = build_randomized(row, res=64)
    export_model(network, 64, "timm", tmp_path / "it", "# a card")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'it'}", pretrained=True)
    assert largest_difference(compute_logits(theirs, make_inputs(64)), compute_logits(network, make_inputs(64))) < 1e-5
    back = models.load(tmp_path / "it")
    assert (
        largest_difference(compute_logits(back.network, make_inputs(64)), compute_logits(network, make_inputs(64)))
        < 1e-5
    )
    assert back.res == 64 and (tmp_path / "it" / "README.md").read_text() == "# a card"
    assert not any("GELU" in line for line in back.report.lines())


@pytest.mark.parametrize("changed", [{"act_layer": "relu"}, {"depth": 3}, {"reg_tokens": 2}])
def test_a_folder_of_ours_that_was_edited_is_refused_by_name(tmp_path, changed):
    export_model(build_randomized(tiny_vit_row()), 32, "timm", tmp_path / "it", "")
    config = json.loads((tmp_path / "it" / "config.json").read_text())
    config["model_args"] |= changed
    (tmp_path / "it" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=next(iter(changed))):
        models.load(tmp_path / "it")


def test_timm_computes_an_exported_bit_exactly(tmp_path):
    import timm

    network = build_randomized(MODEL_ROWS["bit_r50x1"], res=32)
    export_model(network, 32, "timm", tmp_path / "it", "")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'it'}", pretrained=True).double()
    assert torch.equal(
        compute_logits(models.load(tmp_path / "it").network, make_inputs()), compute_logits(network, make_inputs())
    )
    # In double precision: fifty layers of norms over maps of one pixel make float32 alone differ by 1e-4.
    assert (
        largest_difference(
            compute_logits(theirs, make_inputs().double()), compute_logits(network.double(), make_inputs().double())
        )
        < 1e-5
    )


def test_a_timm_baseline_is_exported_to_timm(tmp_path):
    import timm

    row = replace(MODEL_ROWS["timm"], name="convnext_atto")
    network = build_randomized(row, res=64)
    network.set_normalization([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    export_model(network, 64, "timm", tmp_path / "it", "")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'it'}", pretrained=True)
    facts = theirs.pretrained_cfg
    mean, std = torch.tensor(facts["mean"]).view(3, 1, 1), torch.tensor(facts["std"]).view(3, 1, 1)
    normalised = ((make_inputs(64) + 1) / 2 - mean) / std
    assert largest_difference(compute_logits(theirs, normalised), compute_logits(network, make_inputs(64))) < 1e-5
    assert (
        largest_difference(
            compute_logits(models.load(tmp_path / "it").network, make_inputs(64)),
            compute_logits(network, make_inputs(64)),
        )
        < 1e-5
    )


@pytest.mark.parametrize(
    "row",
    [tiny_vit_row(), tiny_vit_row(positions="sincos2d"), tiny_vit_row(gelu="quick", epsilon=1e-3)],
    ids=["learned", "sincos2d", "quick"],
)
def test_transformers_loads_the_folder_and_gives_the_same_logits(tmp_path, row):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    network = build_randomized(row)
    export_model(network, 32, "hf", tmp_path / "it", "# a card")
    theirs = transformers.ViTForImageClassification.from_pretrained(tmp_path / "it")
    assert (
        largest_difference(
            compute_logits(wrap_transformers(theirs), make_inputs()), compute_logits(network, make_inputs())
        )
        < 1e-5
    )


def wrap_transformers(theirs):
    """Wrap a network of transformers as [B, 3, R, R] -> [B, C]."""

    class Logits(torch.nn.Module):
        def forward(self, pixels):
            return theirs.eval()(pixels).logits

    return Logits()


def test_a_folder_exported_for_transformers_is_loaded_again(tmp_path):
    network = build_randomized(tiny_vit_row())
    export_model(network, 32, "hf", tmp_path / "it", "# a card")
    back = models.load(tmp_path / "it")
    assert torch.equal(compute_logits(back.network, make_inputs()), compute_logits(network, make_inputs()))
    assert len(back.report.lines()) == 4  # it has no other option than its file
    config = json.loads((tmp_path / "it" / "config.json").read_text())
    assert (config["layer_norm_eps"], config["hidden_act"]) == (1e-6, "gelu_pytorch_tanh")


@pytest.mark.parametrize(
    "row",
    [
        tiny_vit_row(),
        tiny_vit_row(head="gap"),
        tiny_vit_row(head="map"),
        tiny_vit_row(pre_logits=True),
        HYBRID,
        STEM,
        SMALL_BIT,
        replace(SMALL_BIT, border="none"),
    ],
    ids=["token", "gap", "map", "pre-logits", "hybrid", "stem", "bit", "bit-of-big-vision"],
)
def test_an_exported_npz_is_loaded_again(tmp_path, row):
    network = build_randomized(row, res=64)
    export_model(network, 64, "npz", tmp_path / "it.npz", "# a card")
    back = models.load(tmp_path / "it.npz", res=64)
    assert replace(back.model, name=row.name) == row
    assert torch.equal(compute_logits(back.network, make_inputs(64)), compute_logits(network, make_inputs(64)))
    assert (tmp_path / "it.md").read_text() == "# a card"


@pytest.mark.parametrize("row", [tiny_vit_row(), tiny_vit_row(head="map")], ids=["vit_jax", "big_vision"])
def test_timm_reads_an_exported_npz(tmp_path, row):
    from functools import partial

    from timm.models.vision_transformer import VisionTransformer

    network = build_randomized(row)
    export_model(network, 32, "npz", tmp_path / "it.npz", "")
    map_head = row.head == "map"
    theirs = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2, num_classes=5,
        act_layer=partial(torch.nn.GELU, approximate="tanh"), class_token=not map_head,
        global_pool="map" if map_head else "token",
    )  # fmt: skip
    theirs.load_pretrained(tmp_path / "it.npz")
    assert largest_difference(compute_logits(theirs, make_inputs()), compute_logits(network, make_inputs())) < 1e-5


@pytest.mark.parametrize(
    "row",
    [tiny_vit_row(positions="relative", depth=1), tiny_vit_row(patch=1, stem=32, resnet=(1,), depth=1), SMALL_BIT],
    ids=["relative", "hybrid", "bit"],
)
def test_onnxruntime_gives_the_same_logits_for_any_batch(tmp_path, row):
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import onnxruntime

    network = build_randomized(row, res=64)
    export_model(network, 64, "onnx", tmp_path / "it.onnx", "# a card")
    session = onnxruntime.InferenceSession(tmp_path / "it.onnx")
    for count in (1, 3):
        pixels = make_inputs(64, count)
        theirs = torch.from_numpy(session.run(["logits"], {"images": pixels.numpy()})[0])
        assert largest_difference(theirs, compute_logits(network, pixels)) < 1e-4
    assert sorted(file.name for file in tmp_path.iterdir()) == [".vitrun-outputs.json", "it.md", "it.onnx"]


@pytest.mark.parametrize(
    ("row", "to", "message"),
    [
        (tiny_vit_row(pre_logits=True), "timm", "no pre-logits layer"),
        (tiny_vit_row(pre_logits=True), "hf", "no pre-logits layer"),
        (tiny_vit_row(head="gap"), "hf", "class token"),
        (HYBRID, "hf", "no ResNet"),
        (replace(MODEL_ROWS["timm"], name="convnext_atto"), "hf", "unlike timm's convnext_atto.*to=timm or to=onnx"),
        (tiny_vit_row(positions="relative"), "timm", "positions=relative"),
        (tiny_vit_row(positions_at="every"), "npz", "learned at every"),
        (tiny_vit_row(stem=32, patch=4), "timm", "no hybrid with stages"),
        (SMALL_BIT, "timm", "only resnetv2_50x1_bit"),
        (tiny_vit_row(), "tensorflow", "Choose one of timm, hf, open_clip, npz, onnx"),
    ],
)
def test_a_network_that_the_other_library_lacks_is_refused_and_nothing_is_written(tmp_path, row, to, message):
    path = tmp_path / (f"it.{to}" if to == "npz" else "it")
    with pytest.raises(UserError, match=message):
        export_model(build_randomized(row), 32, to, path, "")
    assert not list(tmp_path.iterdir())


def test_an_existing_path_or_one_of_another_format_is_refused(tmp_path):
    (tmp_path / "it").mkdir()
    with pytest.raises(UserError, match="already exists"):
        export_model(build_randomized(tiny_vit_row()), 32, "timm", tmp_path / "it", "")
    (tmp_path / "notes.md").write_text("notes of the user")
    with pytest.raises(UserError, match="notes.md already exists and is not what vitrun wrote"):
        export_model(build_randomized(tiny_vit_row()), 32, "npz", Target(tmp_path / "notes.npz", force=True), "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it", "notes.md"]
    with pytest.raises(UserError, match=r"end in \.npz"):
        export_model(build_randomized(tiny_vit_row()), 32, "npz", tmp_path / "it.onnx", "")
