"""CLIPs of transformers and of open_clip load as the published networks, and are exported to them."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.networks import MODEL_ROWS, make_inputs
from helpers.paths import SHARED
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.clip_resnet import CLIP_MEAN, CLIP_STD
from vitrun.models.export import Target, export_model
from vitrun.recipes import ClipResNet

GOLDEN = SHARED / "golden/family"
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
TEXT = {"context_length": 16, "vocab_size": 600, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8}
RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8}


def unnormalize(pixels):
    """Return images in [-1, 1] of images that are normalised as CLIP's."""
    return 2 * (pixels * STD + MEAN) - 1


def normalize(images, mean=MEAN):
    """Return images that are normalised as CLIP's, of images in [-1, 1]."""
    return ((images + 1) / 2 - mean) / STD


def make_tokens(vocabulary=600):
    """Return the tokens of two texts, each with an end token."""
    return torch.tensor([[vocabulary - 2, 5, 9, vocabulary - 1, 0, 0], [vocabulary - 2, 7, 1, 2, 3, vocabulary - 1]])


def encode(network, images, tokens):
    """Return the features of both towers before they are normalised."""
    with torch.no_grad():
        return network.eval().encode_image(images), network.encode_text(tokens)


def build_tiny(res=32, tokens="unknown", **options):
    """Return a small CLIP of random weights, none of them zero or one."""
    row = MODEL_ROWS["clip_nano"]
    text = replace(row.text, tokens=tokens, vocabulary=258 if tokens == "bytes" else 600, **options.pop("text", {}))
    row = replace(row, text=text, **options)
    torch.manual_seed(0)
    network = models.build(row, 0, res).eval()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    return network


@pytest.mark.shared
@pytest.mark.parametrize("folder", ["clip_hf", "clip_open_clip"])
def test_both_towers_equal_the_reference_vectors(folder):
    golden, network = np.load(GOLDEN / "clip_hf/golden.npz"), models.load(GOLDEN / folder).network
    images = unnormalize(torch.from_numpy(golden["pixel_values"]))
    for tokens in ("input_ids", "input_ids_padded_with_end"):
        of_images, of_texts = encode(network, images, torch.from_numpy(golden[tokens]))
        np.testing.assert_allclose(of_images, golden["image_features"], atol=2e-5)
        np.testing.assert_allclose(of_texts, golden["text_features"], atol=2e-5)
    with torch.no_grad():
        of_images, of_texts, scale = network(images, torch.from_numpy(golden[tokens]))
    np.testing.assert_allclose(scale * of_images @ of_texts.T, golden["logits_per_image"], atol=2e-5)


@pytest.mark.shared
def test_the_resnet_tower_equals_the_reference_vectors():
    golden = np.load(GOLDEN / "clip_resnet/golden.npz")
    network, images = models.load(GOLDEN / "clip_resnet").network, torch.from_numpy(golden["pixel_values"])
    with torch.no_grad():
        of_images = network.eval().encode_image(unnormalize(images))
    np.testing.assert_allclose(of_images, golden["image_features"], atol=2e-5)


@pytest.mark.shared
def test_the_gradients_of_both_towers_equal_the_reference_vectors():
    golden, gradients = np.load(GOLDEN / "clip_hf/golden.npz"), np.load(GOLDEN / "clip_open_clip/gradients.npz")
    network = models.load(GOLDEN / "clip_open_clip").network.train()
    images = unnormalize(torch.from_numpy(golden["pixel_values"]))
    of_images, of_texts, scale = network(images, torch.from_numpy(golden["input_ids"]))
    logits, places = scale * of_images @ of_texts.T, torch.arange(4)
    cross_entropy = torch.nn.functional.cross_entropy
    loss = (cross_entropy(logits, places) + cross_entropy(logits.T, places)) / 2
    loss.backward()
    assert loss.item() == pytest.approx(float(gradients["loss"]), abs=1e-5)
    pairs = {
        "visual.proj": network.image_proj.weight.grad.T,
        "visual.transformer.resblocks.1.mlp.c_fc.weight": network.image.blocks[1].mlp.fc1.weight.grad,
        "token_embedding.weight": network.text.token_embed.weight.grad,
        "transformer.resblocks.0.attn.in_proj_weight": network.text.blocks[0].attn.qkv.weight.grad,
        "logit_scale": network.logit_scale.grad[0],
    }
    for name, gradient in pairs.items():
        np.testing.assert_allclose(gradient, gradients[name], atol=2e-5)


def save_theirs(folder, **options):
    """Save a random CLIP with transformers; return it."""
    transformers = pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 2, "intermediate_size": 96, "projection_dim": 24, **options}
    text = {"hidden_size": 32, "num_attention_heads": 2, "vocab_size": 600, "max_position_embeddings": 16}
    vision = {"hidden_size": 48, "num_attention_heads": 3, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(
        text_config=text | sizes | {"eos_token_id": 599}, vision_config=vision | sizes, projection_dim=24
    )
    theirs = transformers.CLIPModel(config).eval()
    theirs.save_pretrained(folder)
    return theirs


def compute_theirs(theirs, images, tokens):
    """Return transformers' features of both towers."""
    with torch.no_grad():
        of_images = theirs.visual_projection(theirs.vision_model(normalize(images)).pooler_output)
        return of_images, theirs.text_projection(theirs.text_model(tokens).pooler_output)


@pytest.mark.parametrize("options", [{}, {"hidden_act": "gelu", "layer_norm_eps": 1e-2}], ids=["defaults", "exact"])
def test_a_folder_of_transformers_is_computed_as_its_config_says_and_goes_back(tmp_path, options):
    theirs = save_theirs(tmp_path / "theirs", **options)
    loaded, images, tokens = models.load(tmp_path / "theirs"), make_inputs(), make_tokens()
    torch.testing.assert_close(
        encode(loaded.network, images, tokens), compute_theirs(theirs, images, tokens), rtol=1e-4, atol=1e-5
    )
    export_model(loaded.network, loaded.res, "hf", Target(tmp_path / "ours"), "card")
    again = type(theirs).from_pretrained(tmp_path / "ours").eval()
    assert again.config.text_config.eos_token_id == 599
    torch.testing.assert_close(
        compute_theirs(again, images, tokens), compute_theirs(theirs, images, tokens), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["CLIPVisionModel", "CLIPVisionModelWithProjection"])
def test_an_image_tower_alone_of_transformers_is_that_of_the_clip(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    save_theirs(tmp_path / "both")
    alone = getattr(transformers, kind).from_pretrained(tmp_path / "both")
    alone.save_pretrained(tmp_path / "alone")
    loaded, whole = models.load(tmp_path / "alone"), models.load(tmp_path / "both", classes=0)
    assert (loaded.model, loaded.res, loaded.classes) == (whole.model, 32, 0)
    with torch.no_grad():
        features = loaded.network.eval().features(make_inputs())
        torch.testing.assert_close(features, whole.network.eval().features(make_inputs()))
        theirs = alone.eval()(pixel_values=normalize(make_inputs()))
    if kind == "CLIPVisionModel":
        torch.testing.assert_close(features, theirs.pooler_output, rtol=1e-4, atol=1e-5)
    assert models.load(tmp_path / "alone", classes=3).network(make_inputs()).shape[1] == 3


@pytest.mark.parametrize("kind", ["CLIPTextModel", "CLIPForImageClassification"])
def test_parts_of_a_clip_without_an_image_tower_or_with_another_head_are_refused_by_name(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    save_theirs(tmp_path / "both")
    getattr(transformers, kind).from_pretrained(tmp_path / "both").save_pretrained(tmp_path / "part")
    with pytest.raises(UserError, match=f"this is {kind} .*CLIPVisionModel") as caught:
        models.load(tmp_path / "part")
    assert caught.value.status == ExitCode.CHECKPOINT and len(str(caught.value)) < 400


def save_open_clip(folder, **options):
    """Save a random CLIP with open_clip; return it."""
    open_clip = pytest.importorskip("open_clip")
    from open_clip.push_to_hf_hub import save_config_for_hf
    from safetensors.torch import save_file

    folder.mkdir()
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, **options}
    torch.manual_seed(0)
    theirs = open_clip.CLIP(**config).eval()
    with torch.no_grad():
        for tensor in theirs.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.05)
    open_clip.set_model_preprocess_cfg(theirs, {"mean": CLIP_MEAN, "std": CLIP_STD})
    save_config_for_hf(theirs, folder / "open_clip_config.json", config)
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, folder / "open_clip_model.safetensors")
    return theirs


@pytest.mark.parametrize(
    ("options", "res"),
    [({"quick_gelu": True}, 32), ({"init_logit_bias": -10}, 32), ({"vision_cfg": RESNET, "quick_gelu": True}, 64)],
    ids=["quick", "sigmoid", "resnet"],
)
def test_a_folder_of_open_clip_is_computed_as_its_config_says_and_goes_back(tmp_path, options, res):
    theirs = save_open_clip(tmp_path / "theirs", **options)
    open_clip = pytest.importorskip("open_clip")
    loaded, images, tokens = models.load(tmp_path / "theirs"), make_inputs(res), make_tokens()
    padded = torch.nn.functional.pad(tokens, (0, 10))
    assert loaded.res == res and loaded.model.logit_bias == ("init_logit_bias" in options)

    def compute(network):
        with torch.no_grad():
            return network.encode_image(normalize(images)), network.encode_text(padded)

    torch.testing.assert_close(encode(loaded.network, images, tokens), compute(theirs), rtol=1e-4, atol=2e-5)
    export_model(loaded.network, loaded.res, "open_clip", Target(tmp_path / "ours"), "card")
    again, _ = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'ours'}")
    assert again.visual.image_mean == pytest.approx(CLIP_MEAN)
    torch.testing.assert_close(compute(again.eval()), compute(theirs), rtol=1e-4, atol=2e-5)
    assert models.load(tmp_path / "ours").model == loaded.model


def test_a_checkpoint_of_open_clips_training_loads_without_a_config(tmp_path):
    theirs = save_open_clip(
        tmp_path / "theirs",
        vision_cfg=VISION | {"width": 64, "head_width": 64},
        text_cfg=TEXT | {"heads": 1, "width": 64},
    )
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"epoch": 1, "name": "run", "state_dict": state}, tmp_path / "epoch_1.pt")
    loaded = models.load(tmp_path / "epoch_1.pt")
    with torch.no_grad():
        expected = theirs.encode_image(normalize(make_inputs()))
    torch.testing.assert_close(encode(loaded.network, make_inputs(), make_tokens())[0], expected, rtol=1e-4, atol=1e-5)
    assert any("exact form of GELU" in note for note in loaded.report.notes)


def test_own_weights_keep_their_tokenizer_in_every_format(tmp_path):
    network, images, tokens = build_tiny(tokens="bytes"), make_inputs(), make_tokens(258)
    expected = encode(network, images, tokens)
    models.save_model(tmp_path / "own.safetensors", network, network.row, 0, 32)
    for to in ("hf", "open_clip"):
        export_model(network, 32, to, Target(tmp_path / to), "card")
    for name in ("own.safetensors", "hf", "open_clip"):
        loaded = models.load(tmp_path / name)
        assert loaded.model.text == network.row.text
        torch.testing.assert_close(encode(loaded.network, images, tokens), expected, rtol=1e-4, atol=1e-5)


def test_with_classes_the_image_tower_is_loaded_at_any_resolution(tmp_path):
    network = build_tiny()
    models.save_model(tmp_path / "own.safetensors", network, network.row, 0, 32)
    loaded = models.load(tmp_path / "own.safetensors", classes=3)
    assert loaded.model == models.select_image_row(network.row) and loaded.report.dropped["text tower"]
    with torch.no_grad():
        torch.testing.assert_close(loaded.network.eval().features(make_inputs()), network.features(make_inputs()))
    assert models.load(tmp_path / "own.safetensors", res=64).network.image.side == 8


def test_a_resnet_is_resized_with_the_mean_as_its_first_token(tmp_path):
    image = ClipResNet(kind="clip_resnet", name="image", blocks=(1, 1, 1, 1), width=8, heads=4, features=64)
    network = build_tiny(64, image=image)
    models.save_model(tmp_path / "own.safetensors", network, network.row, 0, 64)
    tower = models.load(tmp_path / "own.safetensors", classes=2, res=96).network
    assert tower(make_inputs(96)).shape == (2, 2)
    torch.testing.assert_close(tower.pos_embed[:, 0], network.image.pos_embed[:, 0])


@pytest.mark.parametrize(
    ("file", "path", "value", "reason"),
    [
        ("hf", ("text_config", "eos_token_id"), 7, "eos_token_id=7"),
        ("hf", ("vision_config", "hidden_act"), "relu", "hidden_act='relu'"),
        ("hf", ("vision_config", "image_size"), 64, "image_size=64"),
        (
            "hf",
            ("vision_config", "num_attention_heads"),
            5,
            r"CLIPModel: width=64: must be a multiple of model.heads=5$",
        ),
        ("open_clip", ("model_cfg", "text_cfg", "no_causal_mask"), True, "no_causal_mask"),
        ("open_clip", ("model_cfg", "vision_cfg"), "B/32", "vision_cfg='B/32', which must be an object"),
    ],
)
def test_what_vitrun_cannot_follow_in_a_config_is_refused_by_name(tmp_path, file, path, value, reason):
    export_model(build_tiny(), 32, file, Target(tmp_path / file), "card")
    name = tmp_path / file / {"hf": "config.json", "open_clip": "open_clip_config.json"}[file]
    config = part = json.loads(name.read_text())
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    name.write_text(json.dumps(config))
    with pytest.raises(UserError, match=reason) as caught:
        models.load(tmp_path / file)
    assert caught.value.status == ExitCode.CHECKPOINT and len(str(caught.value)) < 400


def test_openais_archives_are_refused_with_the_same_weights_in_safetensors(tmp_path):
    for name, same in (("RN50.pt", "hf:timm/resnet50_clip.openai"), ("any.pt", "hf:openai/clip-vit-base-patch32")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("clip/constants.pkl", b"")
            archive.writestr("clip/code/__torch__/multimodal/model.py", b"")
        with pytest.raises(UserError, match=f"not run.*init={same}"):
            models.load(tmp_path / name)


@pytest.mark.parametrize(("options", "to"), [({"logit_bias": True}, "hf"), ({}, "timm"), ({}, "onnx")])
def test_what_another_library_lacks_is_refused(tmp_path, options, to):
    with pytest.raises(UserError, match="to=open_clip"):
        export_model(build_tiny(**options), 32, to, Target(tmp_path / f"x.{to}"), "card")
