"""torchvision's vision transformers, in a file and by name."""

import hashlib

import pytest
import torch
from torchvision.models import VisionTransformer, vision_transformer

from helpers.networks import compute_logits, make_inputs
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models import torchvision_weights
from vitrun.runs import lookup

SIZE = {"image_size": 32, "patch_size": 8, "num_layers": 12, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 768}


@pytest.fixture(scope="module", params=[None, 192], ids=["without pre-logits", "with pre-logits"])
def theirs(request):
    """Return a network of torchvision where every tensor matters."""
    torch.manual_seed(0)
    network = VisionTransformer(**SIZE, num_classes=5, representation_size=request.param).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def normalized(pixels):
    """Return images in [-1, 1] as torchvision's transforms give them."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return ((pixels + 1) / 2 - mean) / std


@pytest.mark.parametrize("published", [False, True], ids=["names in memory", "names in published files"])
def test_a_file_of_torchvision_gives_its_logits(tmp_path, theirs, published):
    tensors = theirs.state_dict()
    if published:
        tensors = {n.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensors[n] for n in tensors}
    torch.save({"model": {f"module.{name}": tensor for name, tensor in tensors.items()}}, tmp_path / "w.pth")
    loaded = models.load(tmp_path / "w.pth")
    assert (loaded.classes, loaded.res, loaded.model.gelu) == (5, 32, "exact")
    assert loaded.report.loaded == len(loaded.network.state_dict()) and "assumed" in loaded.report.notes[-1]
    torch.testing.assert_close(
        compute_logits(loaded.network, make_inputs()),
        compute_logits(theirs, normalized(make_inputs())),
        atol=2e-5,
        rtol=1e-5,
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return torch's cache of downloads, without a network."""

    def refuse(url, path, *_, **__):
        raise OSError(f"no network for {url}")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_every_published_weights_of_a_vit_have_an_address_with_a_hash():
    names = [f"{model}.{weights.name}" for model in MODELS for weights in torchvision_models(model)]
    found = [torchvision_weights.find_published_weights(name) for name in names]
    assert len(found) == 10 and [weights.name for weights in found] == names
    assert all(torchvision_weights.HASH_IN_URL.search(weights.url) for weights in found)


MODELS = ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14")


def torchvision_models(model):
    return vision_transformer.get_model_weights(model) if hasattr(vision_transformer, "get_model_weights") else get(model)


def get(model):
    from torchvision.models import get_model_weights

    return get_model_weights(model)
