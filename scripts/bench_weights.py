"""Measure time and memory of loading ViT-B/16 at 224 into 384, and of building ViT-G/14 on the meta device.

    python scripts/bench_weights.py

Each figure is measured in a separate process, after dropping the file from the system's cache. The targets: ready in
3 s, memory of 2.5 times the weights, G/14 in 2 s. Prints a GitHub table.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 3


def main() -> None:
    """Write the files, measure each in processes of their own, print the medians."""
    if len(sys.argv) > 1:
        return measure(*sys.argv[1:])
    print("| what | ready, s | of that importing torch and vitrun | peak over imports, in weights | peak in all, MB |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for path in write_files(Path(folder)):
            print_row(f"vit_b16 224 -> 384, {path.suffix}", path, path.stat().st_size)
    print_row("ViT-G/14 on the meta device", Path("vit_gigantic14"), None)


def write_files(folder: Path) -> list[Path]:
    """Write ViT-B/16 with a head of 21,843 classes in the published layout and in our own."""
    import torch

    from vitrun import models
    from vitrun.models.export import export_model
    from vitrun.recipes import tables

    torch.manual_seed(0)
    row = tables.load_model_rows()["vit_b16"]
    network = models.build(row, 21_843, 224)
    export_model(network, 224, "npz", folder / "w.npz", "")
    models.save_model(folder / "w.safetensors", network, row, 21_843, 224)
    return [folder / "w.npz", folder / "w.safetensors"]


def print_row(what: str, source: Path, size: int | None) -> None:
    """Print the row of one case: medians over repeats."""
    measurements = []
    for _ in range(REPEATS):
        if size:
            drop_from_cache(source)
        started = time.perf_counter()
        output = subprocess.run([sys.executable, __file__, str(source)], check=True, capture_output=True, text=True)
        imports, own, before, peak = map(float, output.stdout.split())
        measurements.append((own, time.perf_counter() - started, imports, peak - before, peak))
    own, total, imports, over, peak = (sorted(column)[REPEATS // 2] for column in zip(*measurements, strict=True))
    memory = f"{over * 1e6 / size:.2f}" if size else "-"
    print(f"| {what} | {own:.2f} ({total:.2f} with the start of Python) | {imports:.2f} | {memory} | {peak:.0f} |")


def drop_from_cache(path: Path) -> None:
    """Have the system drop the file from its cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(source: str) -> None:
    """Print the seconds of importing and of the work, and the memory in MB after importing and at most."""
    started = time.perf_counter()
    import torch

    from vitrun import models
    from vitrun.recipes import tables

    rows = tables.load_model_rows()
    imported, before = time.perf_counter(), peak_memory()
    if source in rows:
        with torch.device("meta"):
            models.build(rows[source], 1000, 224)
    else:
        models.load(source, classes=1000, res=384)
    print(imported - started, time.perf_counter() - imported, before, peak_memory())


def peak_memory() -> float:
    """Return the peak memory of this process in MB, by Linux's own count, which unlike rusage starts at exec."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


if __name__ == "__main__":
    main()
