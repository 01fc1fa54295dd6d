"""Prefixes of names, and the choice of one of several weights, as training programs save them."""

from itertools import permutations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers.networks import build_randomized, tiny_vit_row
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.formats.wrappers import unwrap

NETWORK = build_randomized(tiny_vit_row(depth=1, width=192, heads=3))
TENSORS = dict(NETWORK.state_dict())
AVERAGE = {name: tensor * 2 for name, tensor in TENSORS.items()}
SIZE = {"patch_size": 8, "img_size": 32, "embed_dim": 192, "depth": 12, "num_heads": 3, "num_classes": 5}


def prefixed(prefix, tensors=TENSORS):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def taken(path, choice="auto"):
    """Return the tensors of the network in a file, and what is said of the others."""
    unwrapped = unwrap(models.read_weights(path), choice)
    return {name: unwrapped.weights[name] for name in unwrapped.weights}, unwrapped


def assert_taken(path, tensors, choice="auto"):
    network, unwrapped = taken(path, choice)
    assert network.keys() == tensors.keys() and all(torch.equal(network[name], tensors[name]) for name in tensors)
    return unwrapped


def save_npz(tensors, path):
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})


@pytest.mark.parametrize("save", [torch.save, save_file, save_npz])
def test_prefixes_are_undone_in_any_order_in_every_format(tmp_path, save):
    path = tmp_path / "w.npz"
    for words in permutations(["module", "_orig_mod", "model", "my_vit"], 3):
        save(prefixed(".".join(words) + "."), path)
        assert not assert_taken(path, TENSORS).beside


def test_wrappers_inside_a_network_are_undone(tmp_path):
    """torch.compile, FSDP and activation checkpointing of single blocks."""
    wrapped = {}
    for name, tensor in TENSORS.items():
        wrapped[name.replace("blocks.0.", "blocks.0._checkpoint_wrapped_module._orig_mod.")] = tensor
    torch.save({"state_dict": {f"_fsdp_wrapped_module.{name}": wrapped[name] for name in wrapped}}, tmp_path / "w.pt")
    assert_taken(tmp_path / "w.pt", TENSORS)
    torch.save({**TENSORS, **prefixed("_orig_mod.")}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="one tensor"):
        taken(tmp_path / "w.pt")


def test_the_modules_of_torch_itself_are_undone(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.Sequential(torch.nn.Flatten(), NETWORK))
    torch.save({"model": torch.compile(averaged).state_dict()}, tmp_path / "w.pth.tar")
    unwrapped = assert_taken(tmp_path / "w.pth.tar", TENSORS)
    assert sum(map(len, unwrapped.beside.values())) == 1 and "n_averaged" in str(unwrapped.beside)


PAIRS = [  # the keys of the averaged and of the plain weights, by program
    ("state_dict_ema", "state_dict"),  # timm
    ("model_ema", "model"),  # DeiT, ConvNeXt
    ("model_ema.module", "model"),  # torchvision
    ("ema", "model.module"),
    ("teacher.backbone", "student.module.backbone"),  # DINO
    ("target_encoder.module", "encoder.module"),  # I-JEPA
    ("state_dict", "current_model_state"),  # Lightning's WeightAveraging
    ("state_dict.ema_model.module", "state_dict.model"),  # in one LightningModule
]


@pytest.mark.parametrize(("ema", "plain"), PAIRS)
def test_of_averaged_and_plain_weights_the_option_chooses_and_the_averaged_are_the_default(tmp_path, ema, plain):
    path = tmp_path / "w.pth"
    torch.save({**prefixed(f"{plain}."), **prefixed(f"{ema}.", AVERAGE), "epoch": 1}, path)
    for choice, tensors, option in (
        ("auto", AVERAGE, "init_weights=plain"),
        ("ema", AVERAGE, "init_weights=plain"),
        ("plain", TENSORS, "init_weights=ema"),
        (ema, AVERAGE, "init_weights=plain"),
        (plain, TENSORS, "init_weights=ema"),
    ):
        (note,) = assert_taken(path, tensors, choice).notes
        assert option in note and ema in note and plain in note


def test_several_networks_that_are_no_average_of_each_other_have_to_be_chosen(tmp_path):
    path, large = tmp_path / "w.pth", dict(build_randomized(tiny_vit_row(depth=1)).state_dict())
    torch.save({"student": TENSORS, "teacher": large}, path)
    with pytest.raises(UserError, match="student, teacher.*init_weights=teacher"):
        taken(path)
    assert_taken(path, large, "teacher")
    torch.save({"a": TENSORS, "b": AVERAGE, "c": TENSORS}, path)
    with pytest.raises(UserError, match="a, b, c"):
        taken(path)
    assert_taken(path, AVERAGE, "b")


@pytest.mark.parametrize("choice", ["ema", "plain", "mine"])
def test_weights_that_a_file_does_not_have_are_refused(tmp_path, choice):
    torch.save({"model" if choice == "ema" else "ema": TENSORS}, tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        taken(tmp_path / "w.pth", choice)
    assert (error.value.status, error.value.option) == (ExitCode.CHECKPOINT, "init_weights")


def test_the_checkpoints_of_timms_training_are_read_with_their_average(tmp_path):
    import argparse

    import timm
    from timm.utils import CheckpointSaver, ModelEmaV3

    network = timm.create_model("vit_tiny_patch16_224", **SIZE)
    ema, optimizer = ModelEmaV3(network), torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    ema.module.head.bias.data.fill_(2.0)
    sum(p.sum() for p in network.parameters()).backward()
    optimizer.step()
    args = argparse.Namespace(model="vit_tiny_patch16_224", opt_kwargs={}, decay_epochs=[1.5])
    saver = CheckpointSaver(network, optimizer, args, ema, checkpoint_dir=tmp_path, recovery_dir=tmp_path)
    saver.save_checkpoint(0, metric=0.5)
    loaded = models.load(tmp_path / "checkpoint-0.pth.tar")
    assert (loaded.network.head.bias == 2).all()
    assert "beside the network, as optimizer.state" in "".join(loaded.report.dropped)
    loaded = models.load(tmp_path / "checkpoint-0.pth.tar", init_weights="plain")
    assert torch.equal(loaded.network.head.bias, network.head.bias)


def test_a_transformers_network_in_a_training_program_is_found(tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}
    network = ViTForImageClassification(ViTConfig(**sizes, image_size=32, num_labels=3))
    torch.save({"state_dict": prefixed("module.vit.", network.state_dict())}, tmp_path / "w.ckpt")
    assert torch.equal(models.load(tmp_path / "w.ckpt").network.head.weight, network.classifier.weight)


def test_keys_that_are_not_known_are_named_shortened(tmp_path):
    torch.save({f"trunk.{'deep.' * 40}{i}": torch.ones(1) for i in range(9)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"trunk\.deep.*and 5 more.*save_for_hf") as error:
        models.load(tmp_path / "w.pt")
    assert len(str(error.value).replace(str(tmp_path), "")) < 400


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite_is_named_with_exit_code_5(tmp_path, value):
    network = build_randomized(tiny_vit_row(depth=12, width=192, heads=3, mlp=768))
    tensors = dict(network.state_dict())
    tensors["blocks.3.mlp.fc1.weight"][1, 2] = value
    torch.save({"model": prefixed("module.", tensors)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"blocks\.3\.mlp\.fc1\.weight") as error:
        models.load(tmp_path / "w.pt")
    assert error.value.status == ExitCode.NUMERICS


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["visual.class_embedding", "visual.conv1.weight", "logit_scale", "token_embedding.weight"],
            "a CLIP with other towers",
        ),
        (
            ["vision_model.embeddings.class_embedding", "text_model.embeddings.x", "logit_scale"],
            "a CLIP with other towers",
        ),
        (["class_embedding", "transformer.resblocks.0.ln_1.weight"], "the image tower of a CLIP"),
        (["backbone.conv1.weight", "roi_heads.box.weight"], "a detector"),
        (
            ["class_token", "conv_proj.weight", "encoder.pos_embedding", "encoder.layers.encoder_layer_0.ln_1.weight"],
            "by its names of torchvision: it lacks the tensor",
        ),
    ],
)
@pytest.mark.parametrize("prefix", ["", "state_dict.module."])
def test_a_network_of_another_kind_is_named(tmp_path, names, reason, prefix):
    torch.save({f"{prefix}{name}": torch.ones(4, 3, 2, 2) for name in names}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=reason) as error:
        models.load(tmp_path / "w.pt")
    assert "init=timm" not in str(error.value) and len(str(error.value).replace(str(tmp_path), "")) < 400
