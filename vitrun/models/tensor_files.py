"""Tensors in files: names and shapes first, each tensor when asked for, and never any code from a file."""

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


class Weights(Mapping):
    """A file's tensors by name, read when asked for; ``shapes`` are known at once, ``facts`` is what else it says."""

    def __init__(self, path: Path, shapes: Shapes, get: Callable[[str], Tensor], facts: dict[str, Any]):
        self.path, self.shapes, self.get_tensor, self.metadata = path, shapes, get, facts

    def __getitem__(self, name: str) -> Tensor:
        return self.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes


def weights_error(path: Path, why: str) -> UserError:
    """A mistake about a file of weights."""
    return UserError(f"{path}: {why}", ExitCode.CHECKPOINT)


def damaged_error(path: Path, kind: str, error: Exception) -> UserError:
    """A mistake for a file that a reader fell over: what is cut off or overwritten fails in a class of any kind."""
    return weights_error(path, f"this is no whole {kind}: {(str(error).splitlines() or [type(error).__name__])[0]}.")


def read_weights(path: str | Path) -> Weights:
    """The tensors of a ``.safetensors``, ``.npz``, ``.pt`` or ``.pth`` file, or of a folder with such a file."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise weights_error(path, "there is no such file.")
    if path.suffix not in READERS:
        raise weights_error(
            path, f"vitrun reads {', '.join(READERS)}, and folders with model.safetensors and config.json."
        )
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise weights_error(path, "this is a web page, not weights: the download gave an error page. Fetch it again.")
    if start.startswith(b"version https://git-lfs"):
        raise weights_error(path, "this is a pointer of git-lfs, not the file it stands for: run `git lfs pull`.")
    return READERS[path.suffix](path)


def read_folder(path: Path) -> Weights:
    """The one weights file of a folder as timm and transformers write it, with its ``config.json`` as facts."""
    config, file = path / "config.json", path / "model.safetensors"
    if not (config.is_file() and file.is_file()):
        raise weights_error(path, "a folder of weights holds config.json and model.safetensors; this one does not.")
    weights = read_weights(file)
    weights.metadata["config"] = read_config_json(config)
    if (preprocessor := path / "preprocessor_config.json").is_file():
        weights.metadata["preprocessor"] = read_config_json(preprocessor)
    return weights


def read_config_json(path: Path) -> dict[str, Any]:
    """What a description of a network says."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise weights_error(path, f"this is no table in JSON: {error}.") from None


def read_safetensors(path: Path) -> Weights:
    """The tensors of a ``.safetensors`` file; its metadata as facts."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            facts = dict(file.metadata() or {})
    except SafetensorError as error:
        raise damaged_error(path, ".safetensors file", error) from None

    def get(name: str) -> Tensor:
        with safe_open(path, "pt") as file:  # opened anew: a mapping kept open would keep the whole file in memory
            return file.get_tensor(name).clone()

    return Weights(path, shapes, get, facts)


def read_npz(path: Path) -> Weights:
    """The arrays of numbers in an ``.npz`` file; one of Python objects is a mistake, never unpickled."""
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
        if array.dtype.kind == "V":  # numpy has no bfloat16: big_vision's are 16 bits of no type
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    return Weights(path, shapes, get, {})


def read_npy_shape(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[int, ...]:
    """The shape in a member's header, which must be that of numbers and agree with the member's size."""
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
        raise weights_error(path, f"{member.filename} says {shape} of {dtype} and has another size.")
    return shape


def read_torch(path: Path) -> Weights:
    """The tensors of a file of ``torch.save``, alone or under ``state_dict`` or ``model``; anything else is refused."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, about a pickle that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        why = "it holds more than tensors, which could run code when read: save the state_dict alone."
        raise weights_error(path, why) from None
    except Exception as error:
        raise damaged_error(path, "file of torch.save", error) from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise weights_error(path, "it is no table of tensors by name.")
    if all(name.startswith("module.") for name in content):  # as torch's DataParallel names them
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in content.items()}
    return Weights(path, shapes, lambda name: content[name].clone(), {})


READERS = {".safetensors": read_safetensors, ".npz": read_npz, ".pt": read_torch, ".pth": read_torch}
