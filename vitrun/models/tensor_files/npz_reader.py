"""Read ``.npz`` files of numbers."""

import math
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from vitrun.errors import UserError
from vitrun.models.tensor_files.tensors import Weights, damaged_error, weights_error


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
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))

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
