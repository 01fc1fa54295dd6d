"""Measure `vitrun report` on many made-up runs: seconds and megabytes.

    python scripts/bench_report.py FOLDER [RUNS]

The runs are written to FOLDER, which must be empty, and the page beside them.
"""

import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.made_runs import make_runs


def main() -> None:
    """Print what a report costs."""
    folder, number = Path(sys.argv[1]), int((sys.argv[2:] or ["500"])[0])
    make_runs(folder / "runs", number)
    page = folder / "report.html"
    start = time.monotonic()
    command = [sys.executable, "-m", "vitrun", "report", f"runs={folder / 'runs'}", f"save={page}"]
    subprocess.run(command, check=True)
    print(f"{number} runs: {time.monotonic() - start:.1f} s, {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
