"""Attention in windows by compiled functions, for float32 and bf16 on a CPU."""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrun.runtime.compiled import load_library

SOURCE = Path(__file__).with_suffix(".c")
POINTERS = {"window_forward": 4, "window_backward": 7}  # arguments of each function after the shape


def find_compiled(x: Tensor) -> ctypes.CDLL | None:
    """Return the compiled functions if they can take ``x``, and there is a C compiler."""
    is_known = x.dtype in (torch.float32, torch.bfloat16) and x.device.type == "cpu" and type(x) is Tensor
    return load_windows() if is_known and not torch.compiler.is_compiling() else None


@cache
def load_windows() -> ctypes.CDLL | None:
    """Return the compiled functions; None where there is no C compiler."""
    library = load_library(SOURCE)
    if library is not None:
        for name, pointers in POINTERS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_void_p] * (1 + pointers), ctypes.c_int
    return library


class CompiledWindows(torch.autograd.Function):
    """Attention to the window around each place, of which only queries, keys and values are stored."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, rows: Tensor, columns: Tensor, heads: int, masked: bool, library: ctypes.CDLL | None
    ) -> Tensor:
        """Return what is attended to, [B, H d, h, w], in the precision of ``maps``.

        Args:
            maps: Queries, keys and values, [B, 3 H d, h, w].
            rows: Table of the terms for rows, [window, d / 2], float32.
            columns: Table of the terms for columns, [window, d - d / 2], float32.
            masked: Whether what is outside the image takes no part, instead of being zeros.
            library: The compiled functions; None for tensors without numbers, where nothing is computed.
        """
        maps, rows, columns = maps.contiguous(), rows.contiguous(), columns.contiguous()
        ctx.save_for_backward(maps, rows, columns)
        ctx.library, ctx.options = library, (heads, masked)
        result = maps.new_empty(maps.shape[0], maps.shape[1] // 3, *maps.shape[2:])
        if library is not None:
            call(library.window_forward, ctx.options, maps, rows, columns, result)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the maps and the tables."""
        maps, rows, columns = ctx.saved_tensors
        items = maps.shape[0] * ctx.options[0]
        tables = [table.new_zeros(items, *table.shape) for table in (rows, columns)]
        result = torch.empty_like(maps)
        call(ctx.library.window_backward, ctx.options, maps, rows, columns, gradient.contiguous(), result, *tables)
        return result, tables[0].sum(0), tables[1].sum(0), None, None, None


def call(function: Any, options: tuple[int, bool], maps: Tensor, rows: Tensor, *others: Tensor) -> None:
    """Call a compiled function; raise a MemoryError if it gets no memory to work in."""
    heads, masked = options
    batch, channels, h, w = maps.shape
    is_bf16 = maps.dtype == torch.bfloat16
    sizes = batch, heads, channels // 3 // heads, h, w, len(rows), masked, is_bf16, torch.get_num_threads()
    shape = (ctypes.c_int64 * len(sizes))(*sizes)
    if not function(shape, *(tensor.data_ptr() for tensor in (maps, rows, *others))):
        raise MemoryError("No memory is left for attention in windows.")
