"""ImageGPT folders as transformers saves them are computed as transformers does, and written so that it reads them."""

import json

import pytest
import torch
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling, ImageGPTForImageClassification

from vitrun import models
from vitrun.errors import UserError
from vitrun.models.export import export_model

COLOURS = [[r, g, b] for r in (-0.5, 0.5) for g in (-0.5, 0.5) for b in (-0.5, 0.5)]


def save_folder(folder, kind=ImageGPTForCausalImageModeling, clusters=COLOURS, **options):
    """Return transformers' network with random weights after saving it with its colours to ``folder``."""
    torch.manual_seed(0)
    config = ImageGPTConfig(
        vocab_size=9, n_positions=16, n_embd=16, n_layer=2, n_head=2, n_inner=24, num_labels=3,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **options,
    )  # fmt: skip
    network = kind(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    if clusters is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps({"clusters": clusters}))
    return network


def test_the_next_colour_is_predicted_as_transformers_does(tmp_path):
    theirs = save_folder(tmp_path)
    ours = models.load(tmp_path, classes=2).network.eval()
    ids = torch.randint(0, 8, (2, 16))
    inputs = torch.cat([torch.full((2, 1), 8), ids[:, :-1]], 1)
    with torch.no_grad():
        expected = theirs(input_ids=inputs).logits
        torch.testing.assert_close(ours.lm_head(ours.encode(ids)), expected, rtol=0, atol=1e-5)


def test_a_classifier_is_computed_as_transformers_does(tmp_path):
    theirs = save_folder(tmp_path, ImageGPTForImageClassification)
    ours = models.load(tmp_path).network.eval()
    images = ours.paint(ids := torch.randint(0, 8, (2, 16))).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(input_ids=ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [ImageGPTForCausalImageModeling, ImageGPTForImageClassification])
def test_an_export_is_read_by_transformers(tmp_path, kind, caplog):
    theirs = save_folder(tmp_path / "given", kind)
    classifies = kind is ImageGPTForImageClassification
    network = models.load(tmp_path / "given", classes=None if classifies else 1).network
    if not classifies:  # as after pretraining
        network.head = torch.nn.Linear(16, 0)
    export_model(network, 4, "hf", tmp_path / "out", "card")
    again, ids = kind.from_pretrained(tmp_path / "out").eval(), torch.randint(0, 8, (2, 16))
    with torch.no_grad():
        assert again(input_ids=ids).logits.equal(theirs(input_ids=ids).logits)
    assert not any("MISSING" in line for line in caplog.text.splitlines())
    clusters = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())["clusters"]
    assert clusters == COLOURS


@pytest.mark.parametrize(
    "options, fault",
    [
        ({"clusters": None}, "clusters, the colours"),
        ({"clusters": COLOURS[:7]}, r"clusters \(7, 3\)"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        ({"activation_function": "relu"}, "activation_function='relu'"),
    ],
)
def test_what_vitrun_cannot_compute_is_refused(tmp_path, options, fault):
    save_folder(tmp_path, **options)
    with pytest.raises(UserError, match=fault):
        models.load(tmp_path, classes=2)


def test_another_resolution_is_refused(tmp_path):
    save_folder(tmp_path)
    with pytest.raises(UserError, match="images of 4 pixels") as error:
        models.load(tmp_path, classes=2, res=8)
    assert error.value.option == "res"
