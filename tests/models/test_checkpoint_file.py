"""A file that is truncated, not weights, or hostile gives one clear error, and none of its code runs."""

import os
import pickle
import random
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, tiny_vit_row
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.export import export_model
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import timm_names
from vitrun.runs import weights_view

SMALL_BIT = replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 1, 1, 1), width_factor=0.5)


class Planted:
    """An object that runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def planted_torch(path, marker):
    torch.save({"blocks.0.norm1.weight": torch.zeros(3), "extra": Planted(marker)}, path)


def planted_pickle(path, marker):
    path.write_bytes(pickle.dumps(Planted(marker)))


def planted_npz(path, marker):
    np.savez(path, **{"embedding/kernel": np.array([Planted(marker)], dtype=object)})


def cut_off(path, marker):
    models.save_model(path, build_randomized(tiny_vit_row()), tiny_vit_row(), 5, 32)
    path.write_bytes(path.read_bytes()[:-100])


def lying_header(path, marker):
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")


def cut_off_npz(path, marker):
    np.savez(path, **{"embedding/kernel": np.zeros((16, 16, 3, 8))})
    path.write_bytes(path.read_bytes()[:-100])


def lying_npz(path, marker):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("embedding/kernel.npy", b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header)


def web_page(path, marker):
    path.write_text("\n<!DOCTYPE html><html><body>404 Not Found</body></html>")


def git_lfs(path, marker):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def nothing(path, marker):
    path.write_bytes(b"")


def text(path, marker):
    np.savez(path, **{"embedding/kernel": np.array(["a", "b"])})


def other_tensor(convert):
    """Return a function that writes weights of which one tensor is of another kind."""

    def write(path, marker):
        save_torch(path, build_randomized(SMALL_BIT), SMALL_BIT, 5, 32)
        state = torch.load(path, weights_only=True)
        name = next(name for name, tensor in state.items() if tensor.dim() == 4)
        torch.save(state | {name: convert(state[name])}, path)

    return write


sparse, quantized = other_tensor(torch.Tensor.to_sparse), other_tensor(lambda tensor: tensor.to(torch.int8))
HOSTILE = [
    (sparse, "w.pt", "a sparse tensor"),
    (quantized, "w.pt", "values of int8"),
    (planted_torch, "w.pt", "could run code"),
    (planted_pickle, "w.pth", "could run code"),
    (planted_pickle, "w.pt", "could run code"),
    (planted_npz, "w.npz", "Python objects"),
    (planted_pickle, "w.npz", "could run code"),
    (planted_pickle, "w.safetensors", "could run code"),
    (cut_off, "w.safetensors", "not a complete .safetensors file"),
    (lying_header, "w.safetensors", "not a complete .safetensors file"),
    (cut_off_npz, "w.npz", "not a complete archive"),
    (lying_npz, "w.npz", "another size"),
    (web_page, "w.npz", "web page"),
    (web_page, "w.safetensors", "web page"),
    (web_page, "w.pt", "web page"),
    (git_lfs, "w.npz", "git lfs pull"),
    (nothing, "w.npz", "empty"),
    (nothing, "w.safetensors", "empty"),
    (nothing, "w.pt", "empty"),
    (text, "w.npz", "not numbers"),
    (web_page, "w.bin", "web page"),
]


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    HOSTILE,
    ids=[f"{make.__name__}-{name}-{expected}" for make, name, expected in HOSTILE],
)
def test_a_hostile_or_broken_file_is_one_clear_error_and_runs_no_code(tmp_path, make, name, expected):
    marker = tmp_path / "it-ran"
    make(tmp_path / name, marker)
    with pytest.raises(UserError, match=expected) as error:
        models.load(tmp_path / name)
    assert error.value.status == ExitCode.CHECKPOINT
    assert str(tmp_path / name) in str(error.value)
    assert not marker.exists()


def test_a_missing_folder_or_file_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        models.load(tmp_path / "w.npz")
    with pytest.raises(UserError, match=r"config\.json"):
        models.load(tmp_path)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(UserError):
        models.load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("text", ["[" * 10**5, '{"weight_map": ' + '{"a": ' * 10**4, '{"weight_map": {}}'])
def test_a_text_of_a_folder_of_weights_that_is_nested_too_deeply_or_empty_is_one_clear_error(tmp_path, name, text):
    (tmp_path / "config.json").write_text("{}")
    if "index" not in name:
        (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        models.load(tmp_path)
    assert error.value.status == ExitCode.CHECKPOINT


def test_a_pipe_in_place_of_a_text_of_a_folder_of_weights_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "preprocessor_config.json")
    assert weights_view.read_json(tmp_path / "preprocessor_config.json") == {}


def test_a_damaged_description_is_reported(tmp_path):
    from safetensors.torch import save_file

    save_file({"head.weight": torch.zeros(1)}, tmp_path / "w.safetensors", {"vitrun": '{"model": {"kind": "vit"}}'})
    with pytest.raises(UserError, match="description of the network is damaged"):
        models.load(tmp_path / "w.safetensors")


def test_the_error_names_tensors_of_an_unknown_network(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1), "layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"conv1\.weight, layer1\.0\.conv1\.weight"):
        models.load(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("name", "row"), [("w.safetensors", tiny_vit_row()), ("w.npz", tiny_vit_row()), ("w.pt", SMALL_BIT)]
)
def test_a_file_with_changed_bytes_loads_or_is_one_clear_error(tmp_path, name, row):
    path, network, draw = tmp_path / name, build_randomized(row), random.Random(0)
    {".safetensors": models.save_model, ".npz": export_npz, ".pt": save_torch}[path.suffix](path, network, row, 5, 32)
    models.load(path)
    content = path.read_bytes()
    for _ in range(30):
        changed = bytearray(content)
        for _ in range(draw.randrange(1, 5)):
            offset = draw.randrange(min(2000, len(content)))  # the metadata is at both ends
            changed[draw.choice([offset, len(content) - 1 - offset])] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            models.load(path)
        except UserError as error:
            assert "\n" not in str(error)


def export_npz(path, network, row, classes, res):
    """Export as ``.npz``, with an empty card."""
    export_model(network, res, "npz", path, "")


def save_torch(path, network, row, classes, res):
    """Save a plain state dict by timm's names."""
    torch.save(export_tensors(timm_names.map_bit_tensors(row, scaled=False), network.state_dict()), path)
