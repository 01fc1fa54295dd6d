"""Files of weights as other programs save them: the content tells the format, and no code of a file runs."""

import argparse
import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
import torch
from blake3 import blake3
from safetensors.torch import load_file, save_file

from helpers.networks import build_randomized, tiny_vit_row
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.tensor_files import torch_reader
from vitrun.runtime.memory import Memory

ARGUMENTS = argparse.Namespace(model="vit_s16", lr=0.1, output=pathlib.Path("/out"), best=np.float32(1), n=np.int64(2))


@pytest.fixture(scope="module")
def tensors():
    """Return the tensors of a small network."""
    return dict(build_randomized(tiny_vit_row(depth=1)).state_dict())


def assert_equal(path, tensors):
    weights = models.read_weights(path)
    assert weights.keys() == tensors.keys() and all(torch.equal(weights[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("name", ["w.bin", "w.pth.tar", "w.ckpt", "w", "w.SAFETENSORS", "w.npz"])
def test_the_content_tells_the_format_whatever_the_name(tmp_path, tensors, name):
    torch.save(tensors, tmp_path / name)
    assert_equal(tmp_path / name, tensors)
    torch.save(tensors, tmp_path / name, _use_new_zipfile_serialization=False)
    assert_equal(tmp_path / name, tensors)
    save_file(tensors, tmp_path / name)
    assert_equal(tmp_path / name, tensors)
    with (tmp_path / name).open("wb") as file:
        np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    assert_equal(tmp_path / name, tensors)


def test_numbers_in_the_other_order_of_bytes_are_read(tmp_path, tensors):
    np.savez(tmp_path / "w.npz", **{name: tensor.numpy().astype(">f4") for name, tensor in tensors.items()})
    assert_equal(tmp_path / "w.npz", tensors)


@pytest.mark.parametrize("zipped", [True, False])
def test_options_paths_and_numbers_beside_tensors_are_read_as_data(tmp_path, tensors, zipped):
    content = {**tensors, "epoch": 3, "args": ARGUMENTS, "metric": np.float64(0.5)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert_equal(tmp_path / "w.pth", tensors)


KINDS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
KINDS += [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("metadata", [None, {"näme": 'a "quoted" value'}], ids=["without metadata", "with metadata"])
def test_a_file_has_the_bytes_that_safetensors_itself_writes_and_their_hash(tmp_path, tensors, metadata):
    odd = {f"{shape} {kind}": torch.ones(shape).to(kind) for kind in KINDS for shape in ((), (3,), (0, 2), (2, 5))}
    save_file(tensors | odd | {"columns": torch.rand(4, 3).t().contiguous()}, tmp_path / "theirs", metadata)
    columns = {"columns": load_file(tmp_path / "theirs")["columns"].t().contiguous().t()}  # not contiguous
    code = models.write_safetensors(tmp_path / "ours", tensors | odd | columns, metadata)
    content = (tmp_path / "ours").read_bytes()
    assert content == (tmp_path / "theirs").read_bytes() and code == blake3(content).hexdigest()


def repack(source, target, pickle_size=0):
    """Write the archive of ``torch.save`` again, compressed, as zip does; with so many zeros behind its pickle."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name) + bytes(pickle_size * name.endswith("data.pkl")))


def test_a_compressed_archive_of_torch_is_read_unless_it_is_larger_than_the_memory(tmp_path, tensors, monkeypatch):
    torch.save(tensors, tmp_path / "w.pth")
    repack(tmp_path / "w.pth", tmp_path / "packed.pth")
    assert_equal(tmp_path / "packed.pth", tensors)
    monkeypatch.setattr(torch_reader, "available_memory", lambda: Memory(1000, "a small machine"))
    with pytest.raises(UserError, match="compressed: it is damaged, or made to fill the memory"):
        models.read_weights(tmp_path / "packed.pth")
    assert_equal(tmp_path / "w.pth", tensors)
    monkeypatch.setattr(torch_reader, "MAX_PICKLE", 2**20)
    repack(tmp_path / "w.pth", tmp_path / "bomb.pth", 2**20)
    with pytest.raises(UserError, match="it says that it holds a data.pkl of 1 MB"):
        models.read_weights(tmp_path / "bomb.pth")


def whole_module(path):
    torch.save(torch.nn.Linear(2, 2), path)


def old_whole_module(path):
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)


def module_in_a_dict(path):
    torch.save({"epoch": 1, "model": {"a": torch.ones(1)}, "config": torch.nn.Linear(2, 2)}, path)


def script(path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def program(path):
    with zipfile.ZipFile(path, "w") as archive:  # the members of a file of torch.export.save that tell it
        archive.writestr("w/archive_format", "pt2")
        archive.writestr("w/models/model.json", "{}")


def numbers(path):
    torch.save({"epoch": 3, "args": ARGUMENTS}, path)


def other_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "weights are in weights.bin")


def one_part(path):
    torch.save({"a": torch.ones(1)}, path)


REFUSED = [
    (whole_module, "w.pth", ["pickled module (Linear)", "weights_only=False).state_dict(), "]),
    (old_whole_module, "w.pth", ["pickled module", ".state_dict(), "]),
    (module_in_a_dict, "w.pth", ["Linear", 'weights_only=False)["model"], ']),
    (script, "w.pt", ["TorchScript", "torch.jit.load"]),
    (program, "w.pt2", ["torch.export", "torch.export.load"]),
    (numbers, "w.ckpt", ["no tensors, but epoch, args"]),
    (other_archive, "w.npz", ["readme.txt"]),
    (one_part, "pytorch_model-00001-of-00002.bin", ["one of 2 parts", "init=FOLDER"]),
]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("make", "name", "parts"), REFUSED, ids=[make.__name__ for make, _, _ in REFUSED])
def test_what_cannot_be_read_says_why_and_the_command_that_makes_it_readable(tmp_path, make, name, parts):
    make(tmp_path / name)
    with pytest.raises(UserError) as error:
        models.load(tmp_path / name)
    message = str(error.value).replace(str(tmp_path), "")
    assert error.value.status == ExitCode.CHECKPOINT and len(message) < 400
    assert all(part in message for part in parts), message


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("make", [whole_module, script, module_in_a_dict])
def test_the_command_in_the_error_makes_the_file_readable(tmp_path, monkeypatch, make):
    make(tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        models.read_weights(tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    exec(str(error.value).partition("python -c '")[2].rstrip("'"))
    assert len(models.read_weights(tmp_path / "weights.pt"))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_parts_are_read_through_their_index(tmp_path, kind):
    from transformers import ViTConfig, ViTForImageClassification

    options = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    network = ViTForImageClassification(ViTConfig(**options, image_size=32, num_labels=3))
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    if kind == "bin":
        turn_into_binaries(tmp_path)
    loaded = models.load(tmp_path)
    assert len(list(tmp_path.glob(f"*-of-*.{kind}"))) > 1 and loaded.report.loaded == 32
    assert torch.equal(loaded.network.head.weight, network.classifier.weight)
    next(tmp_path.glob(f"*-00002-of-*.{kind}")).unlink()
    with pytest.raises(UserError, match="parts are missing"):
        models.load(tmp_path)


def turn_into_binaries(folder):
    """Write the parts of a folder and their index as transformers 4 did without safetensors."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for part in folder.glob("*.safetensors"):
        torch.save(load_file(part), folder / f"pytorch_{part.stem}.bin")
        part.unlink()
    index["weight_map"] = {name: f"pytorch_{part[:-12]}.bin" for name, part in index["weight_map"].items()}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors.index.json").unlink()


def test_an_index_cannot_name_files_elsewhere(tmp_path, tensors):
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(tensors, tmp_path / "other.safetensors")
    (folder / "config.json").write_text("{}")
    index = {"weight_map": dict.fromkeys(tensors, "../other.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="not in this folder"):
        models.load(folder)


def test_damage_anywhere_in_a_file_is_an_error_that_names_it_or_does_not_matter(tmp_path, tensors):
    buffers = {"w.pth": io.BytesIO(), "old.pth": io.BytesIO()}
    content = {"state_dict": tensors, "args": ARGUMENTS}
    torch.save(content, buffers["w.pth"])
    torch.save(content, buffers["old.pth"], _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "w.safetensors")
    buffers["w.safetensors"] = io.BytesIO((tmp_path / "w.safetensors").read_bytes())
    generator = np.random.default_rng(0)
    for trial in range(60):
        name = list(buffers)[trial % 3]
        damaged = bytearray(buffers[name].getvalue())
        end = len(damaged) if trial % 2 else 2000  # half of the damages in the header
        for place in generator.integers(0, min(end, len(damaged)), 4):
            damaged[place] = generator.integers(256)
        (tmp_path / name).write_bytes(damaged[: generator.integers(1, len(damaged))] if trial % 5 == 0 else damaged)
        try:
            models.load(tmp_path / name)
        except UserError as error:
            assert str(tmp_path / name) in str(error)
