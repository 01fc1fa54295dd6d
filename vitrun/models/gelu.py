"""GELU in its approximate forms: torch's, but for bf16 on a CPU, where compiled functions are several times faster."""

import ctypes
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vitrun.runtime.compiled import load_library

SOURCE = Path(__file__).with_suffix(".c")
POINTERS = {"forward": 2, "backward": 3}  # arguments of each function before the number of elements
TANH, QUICK = "gelu", "quick_gelu"  # names of the functions before _forward and _backward


def tanh_gelu(x: Tensor) -> Tensor:
    """Return GELU of every number of ``x``, in its tanh form (arXiv 1606.08415, section 2)."""
    if (library := find_compiled(x)) is not None:
        return CompiledGelu.apply(x, library, TANH)
    return functional.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """Return x sigmoid(1.702 x) of every number of ``x``, the GELU of CLIP and ImageGPT."""
    if (library := find_compiled(x)) is not None:
        return CompiledGelu.apply(x, library, QUICK)
    return x * torch.sigmoid(1.702 * x)


def find_compiled(x: Tensor) -> ctypes.CDLL | None:
    """Return the compiled functions if ``x`` is bf16 on a CPU, and there is a C compiler."""
    is_bf16 = x.dtype == torch.bfloat16 and x.device.type == "cpu" and type(x) is Tensor
    return load_gelu() if is_bf16 and not torch.compiler.is_compiling() else None


@cache
def load_gelu() -> ctypes.CDLL | None:
    """Return the compiled functions; None where there is no C compiler."""
    library = load_library(SOURCE)
    if library is not None:
        for name, (suffix, pointers) in product((TANH, QUICK), POINTERS.items()):
            function = getattr(library, f"{name}_{suffix}")
            function.argtypes, function.restype = (*[ctypes.c_void_p] * pointers, ctypes.c_int64), None
    return library


class CompiledGelu(torch.autograd.Function):
    """A compiled function and its derivative, each rounded once to bf16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, library: ctypes.CDLL, name: str) -> Tensor:
        """Return GELU of ``x``, bf16 on a CPU."""
        x = x.contiguous()
        ctx.save_for_backward(x)
        result = torch.empty_like(x)
        ctx.differentiate = getattr(library, f"{name}_backward")
        getattr(library, f"{name}_forward")(x.data_ptr(), result.data_ptr(), x.numel())
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of ``x``."""
        (x,) = ctx.saved_tensors
        gradient, result = gradient.contiguous(), torch.empty_like(x)
        ctx.differentiate(x.data_ptr(), gradient.data_ptr(), result.data_ptr(), x.numel())
        return result, None, None
