"""``vitrun doctor``: versions, devices, memory, disks and caches, on one screen for a report of a bug."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

import vitrun
from vitrun import recipes
from vitrun.data import describe_decoders
from vitrun.models.compiled_attention import load_attention
from vitrun.models.compiled_windows import load_windows
from vitrun.models.gelu import load_gelu
from vitrun.runtime import machine
from vitrun.runtime.console import Screen
from vitrun.runtime.device import Machine
from vitrun.runtime.environment import read_git_commit, why_no_gpu
from vitrun.runtime.memory import available_memory

Section = dict[str, str]


def execute(recipe: recipes.Doctor, screen: Screen) -> dict[str, Any]:
    """Print what a report of a bug should say of this machine; return it by section."""
    packages = machine.list_packages()
    sections = {
        "software": describe_software(packages["needed"]),
        "extras": {name: join_versions(group) for name, group in packages.items() if name != "needed"},
        "compute": describe_compute(),
        "images": describe_decoders(),
        "memory": describe_memory(),
        "disks": describe_disks(recipe.runs),
        "limits": machine.describe_limits(),
        "environment": machine.list_variables() or {"variables": "none that change what vitrun does"},
    }
    for title, section in sections.items():
        screen.print(f"{title}")
        width = max(map(len, section))
        for name, value in section.items():
            screen.print(f"  {name.ljust(width)}  {value}")
    return dict(sections)


def describe_software(packages: Section) -> Section:
    """Return the versions of vitrun, Python, the system, and the packages that vitrun needs."""
    commit = read_git_commit()
    return {
        "vitrun": vitrun.__version__
        + (f", commit {commit[:12]}" if commit else "")
        + f", in {Path(vitrun.__file__).parent}",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": join_versions(packages),
    }


def join_versions(packages: Section) -> str:
    """Return ``torch 2.14, timm 1.0.31``."""
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def describe_compute() -> Section:
    """Return the processor, the GPUs, and what ``auto`` chooses on them."""
    section = {
        "processor": f"{machine.describe_processor()}, kernels for {torch.backends.cpu.get_cpu_capability()}",
        "chosen": f"{Machine('auto', 'auto')} (device=auto precision=auto)",
        "GELU in bf16": "compiled"
        if load_gelu()
        else "torch's, which is slower: no C compiler (gcc) was found that works",
        "attention in bf16": "compiled, for inference"
        if load_attention()
        else "torch's: the processor has no AVX512-BF16, or there is no C compiler",
        "attention in windows": "compiled"
        if load_windows()
        else "torch's, which is slower: no C compiler (gcc) was found that works",
        "threads": f"{torch.get_num_threads()} in an operation, {torch.get_num_interop_threads()} between operations",
    }
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            section[f"GPU {number}"] = (
                f"{facts.name}, {facts.total_memory / 1e9:.1f} GB, compute {facts.major}.{facts.minor}"
            )
        section["CUDA"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    else:
        section["GPU"] = f"none: {why_no_gpu() or f'torch {torch.__version__} cannot use it.'}"
    return section


def describe_memory() -> Section:
    """Return the main memory, what is left of it to this process, and the shared memory of worker processes."""
    total, left = machine.total_memory(), available_memory()
    shared = machine.SHARED_MEMORY
    return {
        "main": f"{total / 1e9:,.1f} GB" if total else "unknown",
        "left to a process": f"{left.size / 1e9:,.1f} GB, limited by {left.limit}" if left else "unknown",
        "shared": machine.describe_disk(shared) if shared.exists() else "none",
    }


def describe_disks(runs: Path) -> Section:
    """Return the room and the permissions of the folders that vitrun writes to."""
    places = {"runs": runs, "temporary files": Path(os.environ.get("TMPDIR") or "/tmp"), **machine.list_cache_folders()}
    return {name: f"{place.absolute()}: {machine.describe_disk(place)}" for name, place in places.items()}
