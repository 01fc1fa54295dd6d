"""Compiled attention is the exact one, rounded, for any shape; where it does not apply there is none."""

import pytest
import torch
from torch import Tensor

from vitrun.models import compiled_attention as module
from vitrun.models.attention import Attention, attention_weights
from vitrun.models.compiled_attention import compiled_attention, load_attention

SHAPES = [(2, 3, 65, 65, 64), (1, 2, 7, 7, 16), (1, 2, 37, 37, 80), (2, 2, 1, 50, 32), (1, 1, 13, 33, 48)]


@pytest.fixture
def compiled() -> None:
    """Skip the test where there is no compiled function."""
    if load_attention() is None:
        pytest.skip("there is no C compiler, or no AVX512-BF16")


def make_heads(B: int, H: int, Q: int, N: int, width: int) -> tuple[Tensor, ...]:
    """Return queries, keys and values as a network has them: not contiguous."""
    x = torch.randn(B, N, 3, H, width, generator=torch.Generator().manual_seed(0)).mul_(1.5).bfloat16()
    q, k, v = x.permute(2, 0, 3, 1, 4).unbind()
    return q[:, :, :Q], k, v


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_it_is_as_near_to_exact_attention_as_rounding_allows(compiled, shape, causal):
    q, k, v = make_heads(*shape)
    logits = (q.double() @ k.double().transpose(2, 3)) * shape[-1] ** -0.5
    if causal:
        logits = logits.masked_fill(torch.ones(shape[2:4], dtype=torch.bool).triu(1), -torch.inf)
    exact = logits.softmax(-1) @ v.double()
    mixed = compiled_attention(q, k, v, causal)
    error, rounding = ((y.double() - exact).square().mean().sqrt() for y in (mixed, exact.bfloat16()))
    assert mixed.shape == exact.shape and error <= 1.3 * rounding


@torch.no_grad()
def test_it_depends_neither_on_the_other_images_and_heads_nor_on_threads(compiled):
    q, k, v = make_heads(3, 2, 20, 20, 32)
    threads, mixed = torch.get_num_threads(), compiled_attention(q, k, v)
    try:
        torch.set_num_threads(2)
        assert torch.equal(compiled_attention(q, k, v), mixed)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(compiled_attention(*(x[1:2, 1:].contiguous() for x in (q, k, v))), mixed[1:2, 1:])


@torch.no_grad()
def test_what_is_not_finite_stays_so_in_its_own_queries_alone(compiled):
    q, k, v = make_heads(1, 1, 17, 17, 16)
    expected = compiled_attention(q, k, v)
    q = q.clone()
    q[0, 0, 3] = float("nan")
    mixed = compiled_attention(q, k, v)
    assert mixed[0, 0, 3].isnan().all() and torch.equal(mixed[:, :, 4:], expected[:, :, 4:])
    k = k.clone()
    k[0, 0, 16] = float("nan")
    assert compiled_attention(q, k, v).isnan().all()
    assert torch.equal(compiled_attention(q[:, :, 4:], k[:, :, :16], v[:, :, :16]).isfinite().all(), torch.tensor(True))


def test_there_is_none_with_gradients_in_float32_or_without_a_compiler(monkeypatch):
    q, k, v = make_heads(1, 1, 9, 9, 16)
    assert compiled_attention(q, k, v) is None
    with torch.no_grad():
        assert compiled_attention(q.float(), k.float(), v.float()) is None
        assert compiled_attention(*(x[..., :8] for x in (q, k, v))) is None
        layer = Attention(32, 2)
        x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
        monkeypatch.setattr(module, "load_attention", lambda: None)
        assert compiled_attention(q, k, v) is None
        with torch.autocast("cpu", torch.bfloat16):
            q, k, v = layer.split(x)
            expected = layer.proj((attention_weights(q, k) @ v).transpose(1, 2).flatten(2))
            assert torch.equal(layer(x), expected)
