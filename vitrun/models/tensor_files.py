"""Read tensors from files, each when it is needed, and never run code from a file."""

import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrun.errors import ExitCode, UserError

Shapes = dict[str, tuple[int, ...]]
JsonObject = dict[str, Any]  # such as a config.json, whose values depend on the library that wrote it


class Weights(Mapping[str, Tensor]):
    """The tensors of a file by name, each read when it is needed; ``shapes`` and ``metadata`` are read at once."""

    def __init__(self, path: Path, shapes: Shapes, get_tensor: Callable[[str], Tensor], metadata: JsonObject):
        self.path, self.shapes, self.get_tensor, self.metadata = path, shapes, get_tensor, metadata

    def __getitem__(self, name: str) -> Tensor:
        return self.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def rename(self, sources: Mapping[str, str]) -> "Weights":
        """Return the tensors under other names: ``sources`` maps each new name to the one in this file."""
        shapes = {name: self.shapes[source] for name, source in sources.items()}
        return Weights(self.path, shapes, lambda name: self[sources[name]], self.metadata)


def weights_error(path: Path, why: str) -> UserError:
    """Return a UserError about a file of weights."""
    return UserError(f"{path}: {why}", ExitCode.CHECKPOINT)


def damaged_error(path: Path, kind: str, error: Exception) -> UserError:
    """Return a UserError for a truncated or overwritten file, on which readers fail with errors of any class."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return weights_error(path, f"this is not a complete {kind}: {reason}.")


def read_weights(path: str | Path) -> Weights:
    """Return the tensors of a ``.safetensors``, ``.npz``, ``.pt`` or ``.pth`` file, or of a folder of weights.

    Raise a UserError if there are none, or if reading them could run code.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise weights_error(path, "no such file.")
    if path.suffix not in READERS:
        raise weights_error(
            path, f"vitrun reads {', '.join(READERS)}, and folders with model.safetensors and config.json."
        )
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise weights_error(path, "this is a web page, not weights: the download failed. Fetch it again.")
    if start.startswith(b"version https://git-lfs"):
        raise weights_error(path, "this is a pointer of git-lfs, not the file itself: run `git lfs pull`.")
    return READERS[path.suffix](path)


def read_folder(path: Path) -> Weights:
    """Return the weights of a folder of timm or transformers, with its ``config.json`` in the metadata."""
    config, file = path / "config.json", path / "model.safetensors"
    if not (config.is_file() and file.is_file()):
        raise weights_error(path, "a folder of weights has config.json and model.safetensors, but this one does not.")
    weights = read_weights(file)
    weights.metadata["config"] = read_config_json(config)
    if (preprocessor := path / "preprocessor_config.json").is_file():
        weights.metadata["preprocessor"] = read_config_json(preprocessor)
    return weights


def read_config_json(path: Path) -> JsonObject:
    """Return the object in a JSON file. Raise a UserError if the file contains none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise weights_error(path, f"this is not a JSON object: {error}.") from None


def read_safetensors(path: Path) -> Weights:
    """Return the tensors and the metadata of a ``.safetensors`` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise damaged_error(path, ".safetensors file", error) from None

    def get(name: str) -> Tensor:
        with safe_open(path, "pt") as file:  # opened again: an open memory map would keep the whole file in memory
            return file.get_tensor(name).clone()

    return Weights(path, shapes, get, metadata)


def read_npz(path: Path) -> Weights:
    """Return the arrays of numbers in an ``.npz`` file. Raise a UserError for Python objects, without unpickling."""
    import numpy as np

    try:
        archive = zipfile.ZipFile(path)
        shapes = {
            entry.filename.removesuffix(".npy"): read_npy_shape(path, archive, entry) for entry in archive.infolist()
        }
    except UserError:
        raise
    except Exception as error:
        raise damaged_error(path, ".npz file", error) from None

    def get(name: str) -> Tensor:
        try:
            with archive.open(f"{name}.npy") as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
        except Exception as error:
            raise damaged_error(path, f".npz file ({name})", error) from None
        if array.dtype.kind == "V":  # numpy has no bfloat16: big_vision writes it as 16 bits without a type
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    return Weights(path, shapes, get, {})


def read_npy_shape(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[int, ...]:
    """Return the shape in a member's header. Raise a UserError if it is not of numbers or of another size."""
    from numpy.lib import format as npy

    with archive.open(member) as file:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(file)
        start = file.tell()
    if dtype.hasobject:
        raise weights_error(path, f"{member.filename} holds Python objects, which could run code when read.")
    if dtype.kind not in "fiub" and dtype.str != "|V2":
        raise weights_error(path, f"{member.filename} holds {dtype}, not numbers.")
    if start + math.prod(shape) * dtype.itemsize != member.file_size:
        raise weights_error(path, f"{member.filename} has another size than its header says: {shape} of {dtype}.")
    return shape


def read_torch(path: Path) -> Weights:
    """Return the tensors of a file of ``torch.save``, at its top or under ``state_dict`` or ``model``.

    Raise a UserError if it holds anything else.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns of a pickle that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        reason = "it holds more than tensors, which could run code when read: save the state_dict alone."
        raise weights_error(path, reason) from None
    except Exception as error:
        raise damaged_error(path, "file of torch.save", error) from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise weights_error(path, "it is not a dict of tensors by name.")
    if all(name.startswith("module.") for name in content):  # as torch's DataParallel names them
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in content.items()}
    return Weights(path, shapes, lambda name: content[name].clone(), {})


READERS = {".safetensors": read_safetensors, ".npz": read_npz, ".pt": read_torch, ".pth": read_torch}
