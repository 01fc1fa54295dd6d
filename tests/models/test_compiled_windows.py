"""Compiled attention in windows and its gradients are those of the definition; elsewhere torch computes the same."""

import pytest
import torch
from torch.nn import functional

from vitrun.models import compiled_windows
from vitrun.models.compiled_windows import load_windows
from vitrun.models.window_attention import WindowAttention

# channels, window, heads, border; height and width of the map
SHAPES = {
    "odd sides": (16, 7, 2, "zero", 9, 13),
    "a masked border": (48, 5, 4, "masked", 20, 7),
    "heads of an odd number of channels": (10, 3, 2, "zero", 4, 40),
    "a window larger than the map": (8, 11, 1, "masked", 3, 4),
    "one channel a head": (2, 3, 2, "zero", 5, 5),
}


@pytest.fixture
def compiled() -> None:
    """Skip the test where there is no C compiler."""
    if load_windows() is None:
        pytest.skip("there is no C compiler")


def build_layer(out: int, window: int, heads: int, border: str) -> WindowAttention:
    """Return a layer with random tables."""
    torch.manual_seed(0)
    layer = WindowAttention(6, out, window, heads, border)
    for table in (layer.relative_rows, layer.relative_columns):
        torch.nn.init.normal_(table)
    return layer


def copy_windows(layer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """Return what the layer computes, by a copy of the keys and values of its window for each query."""
    window, margin = layer.window, layer.window // 2

    def cut(part: torch.Tensor, outside: float = 0.0) -> torch.Tensor:
        windows = functional.pad(part, (margin, margin, margin, margin), value=outside)
        windows = windows.unfold(2, window, 1).unfold(3, window, 1)  # [B, F, h, w, window, window]
        return windows.flatten(4)

    q, k, v = (
        part.unflatten(1, (layer.heads, -1)) for part in (layer.q(x)[..., None], *map(cut, (layer.k(x), layer.v(x))))
    )
    rows = layer.relative_rows.T[:, :, None].expand(-1, window, window)
    columns = layer.relative_columns.T[:, None].expand(-1, window, window)
    logits = (q * (k + torch.cat([rows, columns]).flatten(1)[:, None, None])).sum(2)
    if layer.border == "masked":
        logits = logits.masked_fill(cut(torch.zeros_like(x[:, :1]), 1.0) > 0, -torch.inf)
    return (v * logits.softmax(-1)[:, :, None]).sum(-1).flatten(1, 2)


def differentiate(compute, layer: WindowAttention, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the output and the gradients of a sum of it, weighted by fixed numbers."""
    x = x.clone().requires_grad_()
    result = compute(x)
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return [result.detach(), *torch.autograd.grad((result * weights).sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_attention_and_its_gradients_are_those_of_the_definition(compiled, monkeypatch, shape):
    layer, x = build_layer(*shape[:4]), torch.randn(2, 6, *shape[4:])
    in_c = differentiate(layer, layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        in_bf16 = layer(x)
    monkeypatch.setattr(compiled_windows, "load_windows", lambda: None)
    by_blocks = differentiate(layer, layer, x)
    layer.double()
    exact = differentiate(lambda images: copy_windows(layer, images), layer, x.double())
    for numbers in (in_c, by_blocks):
        for mine, theirs in zip(numbers, exact, strict=True):
            torch.testing.assert_close(
                mine.double(), theirs, rtol=0, atol=1e-5 * (1 + theirs.abs().amax().item()) if theirs.numel() else 0
            )
    assert in_bf16.dtype == torch.bfloat16
    torch.testing.assert_close(in_bf16.double(), exact[0], rtol=0, atol=0.03 * exact[0].abs().max().item())


def test_the_bits_depend_neither_on_threads_nor_on_other_images(compiled):
    layer, x = build_layer(16, 7, 4, "zero"), torch.randn(3, 6, 12, 12)
    threads = torch.get_num_threads()
    maps = functional.conv2d(x, torch.cat([part.weight for part in (layer.q, layer.k, layer.v)]))
    arguments = (layer.relative_rows, layer.relative_columns, 4, False, load_windows())
    try:
        torch.set_num_threads(1)
        alone = compiled_windows.CompiledWindows.apply(maps, *arguments)
        torch.set_num_threads(2)
        assert torch.equal(compiled_windows.CompiledWindows.apply(maps, *arguments), alone)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(compiled_windows.CompiledWindows.apply(maps[1:2], *arguments), alone[1:2])


def test_what_is_not_a_number_stays_so_within_its_window(compiled):
    layer, x = build_layer(8, 3, 2, "zero"), torch.randn(1, 6, 8, 8)
    x[0, 0, 4, 4] = torch.nan
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[3:6, 3:6] = True
    assert torch.equal(layer(x).isnan().any(1)[0], expected)
    gradient = torch.autograd.grad(layer(x)[..., 4, 4].sum(), layer.relative_rows)[0]
    assert not gradient.isfinite().any()


def test_without_memory_there_is_an_error(compiled):
    shape = (2, False)
    maps, table = torch.empty(1, 6, 4, 4), torch.empty(3, 1)
    with pytest.raises(MemoryError):
        compiled_windows.call(lambda *_: 0, shape, maps, table)
