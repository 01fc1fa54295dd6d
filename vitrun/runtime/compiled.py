"""C functions that are compiled where they are used, for its processor; without a compiler torch takes their place."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from vitrun.runtime.files import write_atomic
from vitrun.runtime.machine import describe_instructions
from vitrun.runtime.user_cache import user_cache_folder

COMPILERS = ("gcc", "cc", "clang")
# Without -ffast-math: a NaN has to stay one. OpenMP's threads are those of torch, which has loaded the library.
FLAGS = [
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-shared",
    "-fPIC",
]
COMPILE_SECONDS = 60


def load_library(source: Path) -> ctypes.CDLL | None:
    """Return the functions of a C file, compiled in the user's cache; None where they cannot be compiled."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), *COMPILERS))), None)
    if compiler is None:
        return None
    identity = "\0".join([source.read_text(encoding="utf-8"), compiler, *FLAGS, describe_instructions()])
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    file = user_cache_folder() / "compiled" / f"{source.stem}-{key}.so"

    def compile_source(place: Path) -> None:
        command = [compiler, *FLAGS, str(source), "-o", str(place)]
        subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)

    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, compile_source)
        return ctypes.CDLL(str(file))
    except (OSError, subprocess.SubprocessError):
        return None
