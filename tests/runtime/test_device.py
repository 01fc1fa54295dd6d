"""Micro-batches, workers and memory of a device."""

import os
import platform
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from helpers.overrides import TINY
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables
from vitrun.runtime.device import (
    Machine,
    choose_device,
    choose_micro_batch,
    explain_single_image,
    set_float32_products,
)


@pytest.mark.parametrize("tokens, width, batch_size", [(17, 64, 128), (65, 192, 128), (197, 768, 4096), (577, 1024, 8)])
def test_the_micro_batch_divides_the_batch_and_leaves_work_for_every_worker(tokens, width, batch_size):
    micro = choose_micro_batch(batch_size, tokens, width, torch.device("cpu"), 2)
    assert batch_size % micro == 0 and micro <= max(1, batch_size // 2)


@pytest.mark.parametrize("batch_size", [127, 254, 4093])
def test_a_batch_that_nothing_divides_is_cut_into_equal_parts_and_a_smaller_one(batch_size):
    micro = choose_micro_batch(batch_size, 197, 768, torch.device("cpu"), 2)
    assert 4 < micro <= 8 and batch_size % micro > 0


@pytest.mark.parametrize("batch_size, tokens, why", [(3, 197, "a batch of 3"), (64, 1025, "1025 tokens")])
def test_the_reason_for_one_image_at_a_time_is_given(batch_size, tokens, why):
    assert choose_micro_batch(batch_size, tokens, 768, torch.device("cpu"), 2) == 1
    assert why in explain_single_image(batch_size, tokens, 2)


def test_a_network_with_dropout_trains_with_one_worker():
    machine = Machine("cpu", "fp32")
    machine.workers = 4
    row = tables.load_model_rows()["vit_nano8"]
    drawing = [replace(row, dropout=0.1), replace(row, stochastic_depth=0.1)]
    assert [machine.workers_for(models.build(one, 2, 32)) for one in (row, *drawing)] == [4, 1, 1]


def test_products_are_exact_or_in_tf32_on_a_gpu_that_has_it_and_nowhere_else(monkeypatch):
    gpu, flags = torch.device("cuda"), []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", flags.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    for capability, precision in (((8, 0), "tf32"), ((8, 0), "bf16"), ((7, 5), "fp32")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        set_float32_products(precision, gpu)
        assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")
    assert flags == ["high", "highest", "highest"]
    for place in (gpu, torch.device("cpu")):
        with pytest.raises(UserError, match="precision=tf32") as error:
            set_float32_products("tf32", place)
        assert error.value.status == ExitCode.DEVICE


PAGES = """
import resource, sys, torch
from concurrent.futures import ThreadPoolExecutor
from vitrun.cli.app import app

app(sys.argv[1:], standalone_mode=False)

def pages() -> int:  # that the kernel gives for forty megabytes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with ThreadPoolExecutor(1) as pool:
    print(*[pool.submit(pages).result() for _ in range(30)])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than GNU's")
def test_memory_that_a_worker_frees_is_reused(tmp_path):
    overrides = ["pretrain", *TINY, "steps=1", "warmup=0", f"runs={tmp_path}", "--quiet"]
    without_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", PAGES, *overrides], capture_output=True, text=True, env=without_gpu, check=True
    )
    *_, last = map(int, done.stdout.splitlines()[-1].split())  # before glibc 2.38 the first tries may not fit
    assert last < 1_000, "of 10,000"


NO_GPU = [
    (False, "0", "built for CPUs only"),
    (True, "", "CUDA_VISIBLE_DEVICES hides every GPU"),
    (True, "0", "nvidia"),
]


@pytest.mark.parametrize("built, visible, why", NO_GPU)
def test_a_gpu_that_is_asked_for_and_missing_is_one_sentence_with_the_reason_and_the_way_out(
    monkeypatch, built, visible, why
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match=f"^device=cuda: torch .* finds no GPU .*(?i:{why}).*Use device=cpu") as error:
        choose_device("cuda")
    assert error.value.status == ExitCode.DEVICE and error.value.option == "device"
