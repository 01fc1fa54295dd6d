"""torchvision's vision transformers, in a file and by name."""

import hashlib
from dataclasses import replace

import pytest
import torch
from torchvision.models import VisionTransformer, get_model_weights, list_models

from helpers.networks import compute_logits, make_inputs
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models import torchvision_weights
from vitrun.recipes import tables
from vitrun.runs import init_resolution

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
def published(tmp_path, monkeypatch):
    """Return a file in torch's cache that stands for published weights, without a network."""
    (tmp_path / "checkpoints").mkdir()
    network = VisionTransformer(**SIZE, num_classes=5)
    torch.nn.init.ones_(network.heads.head.weight)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    digits = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()[:8]
    path = (tmp_path / "w.pth").rename(tmp_path / "checkpoints" / f"vit_b_16-{digits}.pth")
    weights = replace(torchvision_weights.find_published_weights("vit_b_16"), url=f"https://example.org/{path.name}")

    def refuse(url, *_, **__):
        raise OSError("there is no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torchvision_weights, "find_published_weights", lambda name: weights)
    return path


def test_weights_by_name_come_from_the_cache_of_torch_if_their_hash_is_the_published_one(published):
    loaded = models.load("torchvision:vit_b_16")
    assert loaded.model.gelu == "exact" and not loaded.report.notes
    published.write_bytes(published.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"no network.*https://example.org/{published.name}.*init=FILE") as error:
        models.load("torchvision:vit_b_16")
    assert error.value.status == ExitCode.CHECKPOINT


def test_published_weights_are_those_of_the_table_of_models_and_have_an_address_with_a_hash():
    listed = [name for row in tables.list_group_files("model") for name in tables.load_model_info(row).weights]
    listed = {name.partition(":")[2] for name in listed if name.startswith("torchvision:")}
    known = {f"{model}.{w.name}" for model in list_models(include="vit_*") for w in get_model_weights(model)}
    published = [torchvision_weights.find_published_weights(name) for name in known]
    assert listed == known == {weights.name for weights in published}
    assert all(torchvision_weights.HASH_IN_URL.search(weights.url) for weights in published)


def test_a_name_without_weights_takes_the_default_of_torchvision(tmp_path):
    for name, full in (("vit_b_16", "vit_b_16.IMAGENET1K_V1"), ("vit_h_14", "vit_h_14.IMAGENET1K_SWAG_E2E_V1")):
        assert init_resolution.resolve_init(f"torchvision:{name}", tmp_path, "finetune") == f"torchvision:{full}"
    for name, hint in (("vit_b_61", "vit_b_16"), ("vit_b_16.V1", "IMAGENET1K_SWAG_E2E_V1"), ("resnet50", "vit_b_16")):
        with pytest.raises(UserError, match=hint) as error:
            torchvision_weights.find_published_weights(name)
        assert error.value.status == ExitCode.CHECKPOINT
