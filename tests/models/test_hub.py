"""Weights from the Hub: ``init=hf:ORG/NAME`` against a small Hub on this machine, as the command line runs it."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.hub_client import client_environment
from helpers.processes import CommandProcess
from helpers.small_hub import COMMIT, serve_small_hub
from vitrun import models
from vitrun.models.export import export_model
from vitrun.recipes import tables

OVERRIDES = ["data=shapes", "data.train_images=20", "data.test_images=20", "precision=fp32", "--json"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Yield a Hub with the model vit/tiny, and the same weights in vitrun's own file."""
    folder = tmp_path_factory.mktemp("model")
    row = replace(tables.load_model_rows()["vit_nano8"], depth=1)
    torch.manual_seed(0)
    network = models.build(row, 120, 32)
    torch.nn.init.normal_(network.head.weight)
    models.save_model(folder / "own.safetensors", network, row, 120, 32)
    export_model(network, 32, "hf", folder / "hf", "card")
    with serve_small_hub() as hub:
        hub.files["vit/tiny"] = {file.name: file.read_bytes() for file in (folder / "hf").iterdir()}
        hub.files["vit/gated"] = hub.files["vit/tiny"]
        hub.gated.add("vit/gated")
        yield hub, folder / "own.safetensors"


@pytest.fixture
def vitrun(hub, tmp_path):
    def vitrun(*arguments: str, **more: str) -> CommandProcess:
        settings = client_environment(tmp_path / "hf", hub[0].endpoint, **more)
        process = CommandProcess(*arguments, folder=tmp_path, environment=settings)
        process.wait()
        return process

    return vitrun


def test_weights_from_the_hub_are_pinned_cached_and_equal_to_those_of_a_file(hub, vitrun, tmp_path, monkeypatch):
    first = vitrun("eval", "init=hf:vit/tiny", *OVERRIDES)
    assert first.returncode == 0, first.stderr
    assert "%|" not in first.stderr, "no bars of the Hub's client without a terminal"
    (folder,) = (tmp_path / "runs").glob("eval-*")
    assert f"init: hf:vit/tiny@{COMMIT}" in (folder / "recipe.yaml").read_text()
    own = vitrun("eval", f"init={hub[1]}", *OVERRIDES)
    assert json.loads(own.stdout)["loss"] == pytest.approx(json.loads(first.stdout)["loss"], rel=1e-5)

    hub[0].requests.clear()
    monkeypatch.setattr("helpers.small_hub.COMMIT", "c0ffee" + "1" * 34)  # somebody pushed
    again = vitrun("eval", "init=hf:vit/tiny", *OVERRIDES)
    assert (again.returncode, again.stdout, hub[0].requests) == (0, first.stdout, []), "no network is needed again"


def test_wrong_bytes_of_the_right_number_are_refused_and_not_cached(hub, vitrun):
    hub[0].set_faults("bytes", "wrong")
    first = vitrun("eval", "init=hf:vit/tiny", *OVERRIDES)
    assert first.returncode == 4 and "checksum: deleted" in first.stderr and len(first.stderr.splitlines()) == 1
    assert vitrun("eval", "init=hf:vit/tiny", *OVERRIDES).returncode == 0


@pytest.mark.parametrize(
    "name, parts",
    [
        ("vit/none", ["hf:vit/none", "hf auth login", "init=FOLDER"]),
        ("vit/gated", ["hf:vit/gated", "accept its terms"]),
        ("vit/tiny@nowhere", ["hf:vit/tiny@nowhere"]),
    ],
)
def test_weights_that_cannot_be_downloaded_are_one_clear_error(vitrun, name, parts):
    done = vitrun("eval", f"init=hf:{name}", *OVERRIDES)
    assert done.returncode == 4 and len(done.stderr.splitlines()) == 1, done.stderr
    assert all(part in done.stderr for part in parts), done.stderr
