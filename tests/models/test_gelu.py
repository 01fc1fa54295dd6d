"""The compiled GELU is the exact one, rounded once; elsewhere it is torch's to the last bit."""

import pytest
import torch
from torch.nn import functional

from vitrun.models import gelu
from vitrun.models.gelu import quick_gelu, tanh_gelu

FORMS = {
    "tanh": (tanh_gelu, lambda x: functional.gelu(x, approximate="tanh")),
    "quick": (quick_gelu, lambda x: x * torch.sigmoid(1.702 * x)),
}


@pytest.fixture
def compiled() -> None:
    """Skip the test where there is no C compiler."""
    if gelu.load_gelu() is None:
        pytest.skip("there is no C compiler")


def list_numbers() -> torch.Tensor:
    """Return every finite bf16 number above -5: below it torch's own float64 loses the digits of 1 + tanh."""
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    return numbers[numbers.isfinite() & (numbers > -5) & (numbers.abs() < 1e6)].contiguous()


@pytest.mark.parametrize("compute, reference", FORMS.values(), ids=FORMS)
def test_gelu_of_every_bf16_number_and_its_slope_are_the_exact_ones_rounded_once(compiled, compute, reference):
    numbers = list_numbers().requires_grad_()
    exact = numbers.detach().double().requires_grad_()
    for values, function in ((numbers, compute), (exact, reference)):
        function(values).sum().backward()
    assert torch.equal(compute(numbers), reference(exact).bfloat16())
    ulp = torch.exp2(exact.grad.abs().clamp_min(1e-30).log2().floor() - 7)
    assert ((numbers.grad.double() - exact.grad).abs() <= 0.501 * ulp).all()


def test_gelu_and_its_slope_of_what_is_not_finite_are_not_finite_and_far_from_zero_they_vanish(compiled):
    wrong = torch.tensor([float("nan"), float("inf"), float("-inf")], dtype=torch.bfloat16)
    result = tanh_gelu(wrong)
    assert result.isnan().tolist() == [True, False, True] and result[1].isinf()
    ones = torch.ones_like(wrong, requires_grad=True)
    assert not torch.autograd.grad(tanh_gelu(ones), ones, wrong)[0].isfinite().any()
    low = torch.tensor([-20.0, -1e4, -1e30], dtype=torch.bfloat16, requires_grad=True)
    assert (tanh_gelu(low) == 0).all() and (torch.autograd.grad(tanh_gelu(low).sum(), low)[0][:2] == 0).all()


def test_gelu_of_a_number_depends_neither_on_its_place_nor_on_threads(compiled):
    x = torch.randn(100_003, generator=torch.Generator().manual_seed(0)).bfloat16()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = tanh_gelu(x)
        torch.set_num_threads(2)
        assert torch.equal(tanh_gelu(x), alone)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.cat([tanh_gelu(part) for part in x.split(33)]), alone)
    assert torch.equal(tanh_gelu(x[:100].view(10, 10).T), alone[:100].view(10, 10).T)


@pytest.mark.parametrize("compute, reference", FORMS.values(), ids=FORMS)
def test_without_a_compiler_and_in_float32_gelu_is_the_one_of_torch(monkeypatch, compute, reference):
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(compute(x), reference(x))
    monkeypatch.setattr(gelu, "load_gelu", lambda: None)
    assert torch.equal(compute(x.bfloat16()), reference(x.bfloat16()))
