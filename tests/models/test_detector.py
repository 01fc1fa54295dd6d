"""Detectors compute what transformers' YOLOS and DETR do, for images of any size, and have the published sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitrun import models
from vitrun.errors import UserError
from vitrun.models.formats.hugging_face_detr import map_detector
from vitrun.models.tensor_files import read_weights
from vitrun.recipes import tables

ROWS = tables.load_model_rows()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("yolos_ti", 6_488_736), ("yolos_s", 30_684_768), ("yolos_s_dwr", 27_561_696), ("yolos_b", 127_798_368)],
)
def test_a_detector_has_as_many_parameters_as_published(name, parameters):
    assert models.count_parameters(ROWS[name], 91, 512) == parameters


def test_detr_trains_as_many_parameters_as_published():
    with torch.device("meta"):
        network = models.build(ROWS["detr_r50"], 91, 64)
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) == 41_302_368


@pytest.fixture
def make_decoder(shared):
    """Return DETR's network of the golden vectors, whose backbone is a stub, and the vectors."""
    from vitrun.models.detector import Detr

    folder = shared / "golden" / "family" / "detr_hf"
    sizes = dict(tokens=5, width=32, heads=4, mlp=48, encoder=2, decoder=2, dropout=0.0)
    body = replace(ROWS["yolos_nano"].body, width=24)
    network = Detr(replace(ROWS["detr_r50"], body=body, **sizes), 4, (2, 2), 16).eval()
    weights = read_weights(folder / "model.safetensors")
    tensors = {mapping.ours: weights[mapping.theirs[0]] for mapping in map_detector(network.row)}
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    assert not unexpected and all(name.startswith("body.") for name in missing)
    return network, {name: torch.tensor(array) for name, array in np.load(folder / "golden.npz").items()}


@pytest.mark.shared
def test_the_decoder_is_detrs_with_padding_left_out(make_decoder):
    network, golden = make_decoder
    states = network.transformer(golden["features"].float(), golden["pixel_mask"] == 0)
    found = network.read(states)
    torch.testing.assert_close(states[:, -1].double(), golden["decoder_states"], atol=1e-5, rtol=0)
    for layer, prefix in ((-1, ("logits", "pred_boxes")), (0, ("aux_logits", "aux_boxes"))):
        torch.testing.assert_close(found.logits[:, layer].double(), golden[prefix[0]], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.boxes[:, layer].double(), golden[prefix[1]], atol=1e-5, rtol=0)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["yolos_hf", "yolos_hf_nomid"])
def test_yolos_is_that_of_transformers_at_the_size_of_its_positions_and_at_others(shared, name):
    folder = shared / "golden" / "family" / name
    network = models.load(folder).network.eval()
    golden = np.load(folder / "golden.npz")
    for size in ("", "_other_size"):
        found = network(torch.from_numpy(golden[f"pixel_values{size}"]))
        np.testing.assert_allclose(found.logits[:, 0].detach(), golden[f"logits{size}"], atol=1e-5)
        np.testing.assert_allclose(found.boxes[:, 0].detach(), golden[f"pred_boxes{size}"], atol=1e-5)


def test_a_detector_of_any_body_answers_for_images_of_any_size():
    torch.manual_seed(0)
    yolos = replace(ROWS["yolos_nano"], mid=True)
    decoder = replace(ROWS["yolos_nano"], decoder=2, width=32, heads=2, mlp=64)
    bodies = [yolos, decoder, replace(decoder, encoder=1, body=replace(yolos.body, head="gap", positions="none"))]
    for row in bodies:
        network = models.build(row, 7, 32).eval()
        for height, width in ((32, 32), (40, 24)):
            found = network(torch.randn(2, 3, height, width))
            assert found.logits.shape == (2, max(1, row.decoder), 10, 8)
            assert found.boxes.shape == (2, max(1, row.decoder), 10, 4)


def test_padding_does_not_change_what_a_decoder_finds():
    torch.manual_seed(0)
    row = replace(ROWS["detr_r50"], body=replace(ROWS["detr_r50"].body, name="resnet10t"), encoder=1, decoder=1)
    network = models.build(replace(row, width=16, heads=2, mlp=16), 3, 64).eval().transformer
    maps = torch.randn(1, network.proj.in_channels, 3, 4)
    padded = torch.cat([maps, torch.randn(1, maps.shape[1], 3, 2)], 3)
    padding = torch.zeros(1, 96, 192, dtype=torch.bool)
    padding[:, :, 128:] = True
    torch.testing.assert_close(network(padded, padding), network(maps), atol=1e-5, rtol=1e-5)


def test_a_detector_has_no_features_of_an_image():
    with pytest.raises(UserError) as raised:
        models.build(ROWS["yolos_nano"], 3, 16).features(torch.zeros(1, 3, 16, 16))
    assert raised.value.option == "init"
