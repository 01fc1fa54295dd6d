"""Read files of ``torch.save``, whatever training program wrote them, without running code from them."""

import argparse
import io
import json
import pathlib
import pickletools
import re
import shlex
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitrun.errors import UserError
from vitrun.models.tensor_files.tensors import Weights, damaged_error, format_keys, weights_error
from vitrun.runtime.memory import available_memory

MAKE_SCALAR: Any = np.float64(0).__reduce__()[0]  # numpy's function that makes a scalar of a type and bytes
# What training programs save beside tensors, and torch does not allow by itself: options, paths, numbers of numpy.
# All of them are data: to make or to change one runs no code of the file.
INERT_TYPES: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    types.SimpleNamespace,
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    (pathlib.PosixPath, "pathlib._local.PosixPath"),  # as Python 3.13 names it
    (MAKE_SCALAR, "numpy.core.multiarray.scalar"),  # numpy 1
    (MAKE_SCALAR, "numpy._core.multiarray.scalar"),  # numpy 2
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")),
]
WRAPPING_KEYS = ("state_dict", "model_state_dict", "model", "module", "network")  # under which a file has its tensors
FOREIGN_CLASS = re.compile("GLOBAL|allowlist|safe_globals")  # in torch's error for a class that is not data
MAX_PICKLE = 2**28  # bytes of the names and sizes of all tensors
# OpenAI's archives of CLIP, which contain programs -> the repository with the same weights as safetensors
OPENAI_CLIPS = {
    "ViT-B-32": "openai/clip-vit-base-patch32",
    "ViT-B-16": "openai/clip-vit-base-patch16",
    "ViT-L-14": "openai/clip-vit-large-patch14",
    "ViT-L-14-336px": "openai/clip-vit-large-patch14-336",
    "RN50": "timm/resnet50_clip.openai",
    "RN101": "timm/resnet101_clip.openai",
    "RN50x4": "timm/resnet50x4_clip.openai",
    "RN50x16": "timm/resnet50x16_clip.openai",
    "RN50x64": "timm/resnet50x64_clip.openai",
}
MAX_DEPTH = 8  # of dicts in dicts; more is a dict that contains itself
UNSAFE_SHOWN = 3  # classes in a message


def read_torch(path: Path) -> Weights:
    """Return the tensors of a file of ``torch.save``; those of a dict in a dict have names as ``state_dict.head.bias``.

    Raise a UserError if reading it could run code, or if it has no tensors.
    """
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(INERT_TYPES):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=can_be_mapped(path))
    except UserError:
        raise
    except Exception as error:  # of any class: the bytes of a damaged file may mean anything
        raise explain_failure(path, error) from None
    if isinstance(content, Tensor) or not isinstance(content, dict):
        raise weights_error(path, f"it is a {type(content).__name__}, not a dict of tensors by name.")
    tensors: dict[str, Tensor] = {}
    for name, tensor in list_tensors(content):
        if name in tensors:
            raise weights_error(path, f"it has two tensors called {name}.")
        tensors[name] = tensor
    if not tensors:
        raise weights_error(path, f"it has no tensors, but {format_keys(map(str, content)) or 'nothing'}.")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    facts = {key: to_plain(content[key]) for key in ("arch", "args") if key in content}

    def get(name: str) -> Tensor:
        if problem := describe_other_kind(tensor := tensors[name]):
            raise weights_error(path, f"{name} is {problem}: save the weights as plain tensors.")
        return tensor.clone()

    return Weights(path, shapes, get, {"checkpoint": facts} if facts else {})


def describe_other_kind(tensor: Tensor) -> str:
    """Return what a tensor is if it is not one of all its values, an empty text if it is."""
    if tensor.layout is not torch.strided:
        return "a sparse tensor"
    if tensor.is_quantized or tensor.is_complex():
        return f"a tensor of {str(tensor.dtype).removeprefix('torch.')}"
    return "a tensor without values" if tensor.is_meta else ""


def can_be_mapped(path: Path) -> bool:
    """Return whether the tensors of a file can be mapped into memory: in an archive, and not compressed.

    Raise a UserError if it says that it holds more than there is memory for, as a few compressed bytes may.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    compressed = [member for member in members if member.compress_type != zipfile.ZIP_STORED]
    pickles = sum(member.file_size for member in members if member.filename.endswith("data.pkl"))
    size, free = sum(member.file_size for member in compressed), available_memory()
    if pickles > MAX_PICKLE or (free is not None and size > free.size):
        what = f"a data.pkl of {pickles / 1e6:,.0f} MB" if pickles > MAX_PICKLE else f"{size / 1e6:,.0f} MB, compressed"
        raise weights_error(path, f"it says that it holds {what}: it is damaged, or made to fill the memory.")
    return not compressed


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return what training programs save beside tensors as JSON has it: options of a namespace are an object.

    Tensors, and what is deeper than ``MAX_DEPTH``, become None.
    """
    if isinstance(value, argparse.Namespace | types.SimpleNamespace):
        value = vars(value)
    if isinstance(value, dict | list | tuple):
        inside = depth < MAX_DEPTH
        if isinstance(value, dict):
            return {f"{key}": to_plain(item, depth + 1) for key, item in value.items() if inside}
        return [to_plain(item, depth + 1) for item in value if inside]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str | int | float | bool | None):
        return value
    return str(value) if isinstance(value, pathlib.PurePath) else None


def list_tensors(content: dict[Any, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor in a dict of dicts, with the keys that lead to it joined by points."""
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value.detach()
        elif isinstance(value, dict) and depth < MAX_DEPTH:
            yield from list_tensors(value, f"{prefix}{key}.", depth + 1)


def explain_failure(path: Path, error: Exception) -> UserError:
    """Return the UserError for a file that torch did not read: classes that could run code, or damage."""
    try:
        is_dict, strings = inspect_pickle(path)
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
    except Exception:
        return damaged_error(path, "file of torch.save", error)
    if not unsafe and not FOREIGN_CLASS.search(str(error)):
        return damaged_error(path, "file of torch.save", error)
    classes = ", ".join(name.rpartition(".")[2] for name in sorted(unsafe)[:UNSAFE_SHOWN]) or "other objects"
    more = f" and {len(unsafe) - UNSAFE_SHOWN} more classes" if len(unsafe) > UNSAFE_SHOWN else ""
    key = next((key for key in WRAPPING_KEYS if key in strings), "state_dict")
    taken = f"[{json.dumps(key)}]" if is_dict else ".state_dict()"
    what = f"it holds {classes}{more} beside tensors" if is_dict else f"it is a pickled module ({classes}{more})"
    command = save_command(f"torch.load({json.dumps(str(path))}, weights_only=False){taken}")
    return weights_error(path, f"{what}, which could run code when read. If you trust it: {command}")


def inspect_pickle(path: Path) -> tuple[bool, set[str]]:
    """Return whether a file of ``torch.save`` is a dict, and the strings in it, without unpickling it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
            operations = list(pickletools.genops(io.BytesIO(archive.read(member))))
    else:
        with path.open("rb") as file:  # before torch 1.6: the format's number, its version, the machine, the content
            operations = [list(pickletools.genops(file)) for _ in range(4)][-1]
    first = next(argument or code.name for code, argument, _ in operations if code.name not in ("PROTO", "FRAME"))
    strings = {argument for _, argument, _ in operations if isinstance(argument, str)}
    return first in ("EMPTY_DICT", "collections OrderedDict"), strings


def save_command(expression: str) -> str:
    """Return the command that saves the tensors of a Python expression to ``weights.pt``."""
    return "python -c " + shlex.quote(f'import torch; torch.save({expression}, "weights.pt")')


def script_error(path: Path, is_clip: bool = False) -> UserError:
    """Return the UserError for an archive of TorchScript, as OpenAI publishes CLIP."""
    if is_clip or path.stem in OPENAI_CLIPS:
        same = OPENAI_CLIPS.get(path.stem, "openai/clip-vit-base-patch32")
        what = "this is a TorchScript archive, as OpenAI publishes CLIP, which contains a program and is not run"
        return weights_error(path, f"{what}. The same weights as safetensors, without a program: init=hf:{same}")
    command = save_command(f"torch.jit.load({json.dumps(str(path))}).state_dict()")
    return weights_error(path, f"this is a TorchScript archive, which contains a program. If you trust it: {command}")


def program_error(path: Path) -> UserError:
    """Return the UserError for an archive of ``torch.export``."""
    command = save_command(f"torch.export.load({json.dumps(str(path))}).state_dict")
    return weights_error(path, f"this is a program of torch.export, not weights. If you trust it: {command}")


def pickle_error(path: Path) -> UserError:
    """Return the UserError for a pickle that ``torch.save`` did not write."""
    command = save_command(f"__import__('pickle').load(open({json.dumps(str(path))}, 'rb'))".replace("'", '"'))
    return weights_error(path, f"this is a pickle, which could run code when read. If you trust it: {command}")
