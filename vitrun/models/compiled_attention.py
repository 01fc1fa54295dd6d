"""Attention in bf16 on a CPU with AVX512-BF16, by a compiled function that copies nothing, for inference."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from vitrun.runtime.compiled import load_library

SOURCE = Path(__file__).with_name("attention.c")
LANES = 16  # a head's width must be a multiple of it


class Sizes(ctypes.Structure):
    """Sizes of the tensors, and the strides of queries, keys and values, as the compiled function reads them."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "heads", "queries", "keys", "width", "causal", "threads")),
        *((name, 3 * ctypes.c_int64) for name in ("q", "k", "v")),
    ]


def compiled_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor | None:
    """Return softmax(q k^T / sqrt(D/H)) v [B, H, Q, D/H]; None where there is no compiled function for it.

    Products and softmax are computed in float32 and the result is rounded once, so that it is nearer to the exact one
    than that of torch's bf16 operations. It depends neither on the other images nor on the number of threads.

    Args:
        q: Queries [B, H, Q, D/H], bf16 on a CPU, without gradients; the first Q of the N if ``causal``.
        k: Keys [B, H, N, D/H].
        v: Values [B, H, N, D/H].
        causal: Whether a token attends to itself and those before it only.
    """
    if not is_supported(q, k, v) or (library := load_attention()) is None:
        return None
    B, H, Q, width = q.shape
    keys, threads = k.shape[2], torch.get_num_threads()
    mixed = q.new_empty(B, Q, H, width)
    sizes = Sizes(B, H, Q, keys, width, causal, threads, *((x.stride()[:3]) for x in (q, k, v)))
    scratch = torch.empty(threads * library.measure_scratch(keys, width), dtype=torch.uint8)
    pointers = [x.data_ptr() for x in (q, k, v, mixed)]
    library.attention_forward(*pointers, ctypes.byref(sizes), width**-0.5, scratch.data_ptr())
    return mixed.transpose(1, 2)


def is_supported(*tensors: Tensor) -> bool:
    """Return whether queries, keys and values are such as the compiled function takes."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return all(
        type(x) is Tensor and x.dtype == torch.bfloat16 and x.is_cpu and x.stride(3) == 1 and x.shape[3] % LANES == 0
        for x in tensors
    )


@cache
def load_attention() -> ctypes.CDLL | None:
    """Return the compiled functions; None where there is no C compiler, or the processor lacks AVX512-BF16."""
    library = load_library(SOURCE) if torch.cpu._is_avx512_bf16_supported() else None
    if library is None or not hasattr(library, "attention_forward"):
        return None
    pointer = ctypes.c_void_p
    library.attention_forward.argtypes = [*[pointer] * 4, ctypes.POINTER(Sizes), ctypes.c_float, pointer]
    library.attention_forward.restype = None
    library.measure_scratch.argtypes, library.measure_scratch.restype = [ctypes.c_int64] * 2, ctypes.c_int64
    return library
