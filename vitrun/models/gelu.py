"""GELU in its tanh form: torch's, but for bf16 on a CPU, where a compiled function is several times faster."""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vitrun.runtime.compiled import load_library

SOURCE = Path(__file__).with_suffix(".c")
POINTERS = {"gelu_forward": 2, "gelu_backward": 3}  # arguments of each function before the number of elements


def tanh_gelu(x: Tensor) -> Tensor:
    """Return GELU of every number of ``x``, in its tanh form (arXiv 1606.08415, section 2)."""
    if x.dtype == torch.bfloat16 and x.device.type == "cpu" and type(x) is Tensor and not torch.compiler.is_compiling():
        library = load_gelu()
        if library is not None:
            return CompiledGelu.apply(x, library)
    return functional.gelu(x, approximate="tanh")


@cache
def load_gelu() -> ctypes.CDLL | None:
    """Return the compiled functions; None where there is no C compiler."""
    library = load_library(SOURCE)
    if library is not None:
        for name, pointers in POINTERS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = (*[ctypes.c_void_p] * pointers, ctypes.c_int64), None
    return library


class CompiledGelu(torch.autograd.Function):
    """The compiled function and its derivative, each rounded once to bf16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, library: ctypes.CDLL) -> Tensor:
        """Return GELU of ``x``, bf16 on a CPU."""
        x = x.contiguous()
        ctx.save_for_backward(x)
        ctx.library, result = library, torch.empty_like(x)
        library.gelu_forward(x.data_ptr(), result.data_ptr(), x.numel())
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of ``x``."""
        (x,) = ctx.saved_tensors
        gradient, result = gradient.contiguous(), torch.empty_like(x)
        ctx.library.gelu_backward(x.data_ptr(), gradient.data_ptr(), result.data_ptr(), x.numel())
        return result, None
