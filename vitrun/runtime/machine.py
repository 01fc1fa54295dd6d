"""Description of the machine and of what is installed, for a report of a bug; torch is not imported."""

import os
import platform
import re
import resource
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from vitrun.runtime.user_cache import user_cache_folder

VARIABLES = re.compile(
    r"(VITRUN|HF|OMP|MKL|CUDA|NCCL|GLOO|SLURM|PYTORCH)_\w+|RANK|LOCAL_RANK|WORLD_SIZE|MASTER_\w+|NO_COLOR|COLUMNS"
)
OWN_VARIABLES = ("HF_HUB_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS", "TORCH_CPP_LOG_LEVEL")  # that vitrun sets itself
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)
SHARED_MEMORY, MEMINFO, CPUINFO = Path("/dev/shm"), Path("/proc/meminfo"), Path("/proc/cpuinfo")


def list_packages() -> dict[str, dict[str, str]]:
    """Return the version of each package that vitrun needs, by extra; ``not installed`` for the missing ones."""
    packages: dict[str, dict[str, str]] = {}
    for requirement in requires("vitrun") or ():
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if name and name[0] != "vitrun":
            packages.setdefault(extra[1] if extra else "needed", {})[name[0]] = find_version(name[0])
    return packages


def find_version(package: str) -> str:
    """Return the version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def describe_processor() -> str:
    """Return the name of the processor and the cores that this process may use."""
    name = platform.processor() or platform.machine()
    if CPUINFO.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(errors="replace"), re.MULTILINE)
        name = match[1] if match else name
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {os.cpu_count()} cores" + (f", {allowed} allowed" if allowed != os.cpu_count() else "")


def describe_instructions() -> str:
    """Return the name of the processor and its instruction sets, by which compiled code and timings are cached."""
    text = CPUINFO.read_text(errors="replace") if CPUINFO.exists() else ""
    lines = dict.fromkeys(re.findall(r"^(?:model name|flags|Features)\s*:.*", text, re.MULTILINE))
    return "\n".join((platform.machine(), platform.processor(), *lines))


def total_memory() -> int | None:
    """Return the bytes of main memory; None where the system does not tell."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", MEMINFO.read_text(), re.MULTILINE) if MEMINFO.exists() else None
    return int(match[1]) * 1024 if match else None


def describe_disk(folder: Path) -> str:
    """Return the free bytes of the disk of a folder, whether it exists, and whether it may be written."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = f"{shutil.disk_usage(existing).free / 1e9:,.1f} GB free"
    state = "" if existing == folder.absolute() else ", not there yet"
    return f"{free}{state}{'' if os.access(existing, os.W_OK) else ', cannot be written'}"


def list_cache_folders() -> dict[str, Path]:
    """Return the folders that vitrun and its libraries write to outside of runs, by whose they are."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return {
        "vitrun": user_cache_folder(),
        "Hugging Face Hub": Path(os.environ.get("HF_HUB_CACHE") or home / "hub"),
        "datasets": Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets"),
        "torch": Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch"),
    }


def describe_limits() -> dict[str, str]:
    """Return the limits of this process that experiments run into."""
    names = {
        "open files": resource.RLIMIT_NOFILE,
        "address space": resource.RLIMIT_AS,
        "file size": resource.RLIMIT_FSIZE,
    }
    limits = {name: resource.getrlimit(number)[0] for name, number in names.items()}
    return {name: "none" if limit == resource.RLIM_INFINITY else f"{limit:,}" for name, limit in limits.items()}


def list_variables() -> dict[str, str]:
    """Return the environment variables that change what vitrun does, without their values where these are secrets."""
    names = sorted(name for name in os.environ if VARIABLES.fullmatch(name) and name not in OWN_VARIABLES)
    return {name: "(set)" if SECRET.search(name) else os.environ[name] for name in names}
