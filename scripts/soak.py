"""Kill a run of a small model again and again, resume it each time, and compare it with an uninterrupted run.

    python scripts/soak.py --kills 300 --seed 0

The run has gradient accumulation, an average of the weights, mixup, dropout and stochastic depth, and saves after every
step. Each attempt is a process that gets SIGKILL: every second one while a save is in a certain stage, the others at a
random time. The table tells how it went; exit code 1 if the weights or losses differ, an attempt ended in another way,
or a checkpoint was rejected.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.soak import Soak, soak
from vitrun.runtime.text_tables import format_table

REPORT_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shown = time.monotonic()

    def report(result: Soak) -> None:
        nonlocal shown
        if time.monotonic() - shown > REPORT_SECONDS:
            shown = time.monotonic()
            inside = sum(result.inside.values())
            print(f"{result.kills} kills, {inside} inside a save, {result.seconds:.0f} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        result = soak(Path(folder), options.kills, options.seed, report)
    print(format_table(["soak", f"seed {options.seed}"], list_rows(result)))
    print(*result.problems, sep="\n")
    return not result.sound


def list_rows(result: Soak) -> list[list[str]]:
    """Return the rows of the table."""
    resumed = Counter(result.resumed_from)
    whole, killed = result.weights
    return [
        ["steps", str(result.steps)],
        ["kills (SIGKILL)", str(result.kills)],
        ["aimed at a save", str(result.aimed)],
        ["inside a save", str(sum(result.inside.values()))],
        *([f"  {stage}", str(count)] for stage, count in sorted(result.inside.items())),
        ["attempts that resumed", str(len(result.resumed_from))],
        ["from different steps", str(len(resumed))],
        ["first and last", f"{min(resumed, default=0)} ... {max(resumed, default=0)}"],
        ["rejected checkpoints", str(result.rejected)],
        ["seconds", f"{result.seconds:.0f}"],
        ["losses of all steps", "equal" if result.losses_equal else "DIFFERENT"],
        *([f"BLAKE3 hash of {file}", compare_hashes(whole[file], killed.get(file))] for file in whole),
    ]


def compare_hashes(whole: str, killed: str | None) -> str:
    """Return whether two hashes are equal, with their first letters."""
    return f"equal ({whole[:12]})" if whole == killed else f"DIFFERENT ({whole[:12]}, {str(killed)[:12]})"


if __name__ == "__main__":
    sys.exit(main())
