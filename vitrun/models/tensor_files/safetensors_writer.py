"""Write ``.safetensors`` files and hash them in one pass."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vitrun.runtime.hashed_file import HashedFile

DTYPES = {  # in the order of safetensors, which stores the last ones first
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    """Write the bytes that safetensors' ``save_file`` writes, and return their BLAKE3 hash in hex.

    ``save_file`` leaves the hash to a second pass, which reads the file again, and waits for the disk itself.
    """
    order = [*DTYPES]
    names = sorted(tensors, key=lambda name: (-order.index(tensors[name].dtype), name))
    with HashedFile(path) as file:
        file.write(format_header({name: tensors[name] for name in names}, metadata))
        for name in names:
            file.write(view_bytes(tensors[name]))
    return file.hexdigest()


def format_header(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None) -> bytes:
    """Return the header of a file: its length, and the type, shape and place of each tensor as JSON."""
    entries: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    return len(text).to_bytes(8, "little") + text


def view_bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor, without a copy if it is contiguous and in main memory."""
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return content.numpy().data
