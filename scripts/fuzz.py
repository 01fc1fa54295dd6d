"""Damage inputs of vitrun, and check how it answers.

    python scripts/fuzz.py --cases 500 folders parquet tars boxes captions tables
    python scripts/fuzz.py --cases 500 weights weight_folders checkpoints
    python scripts/fuzz.py --cases 10000 overrides
    python scripts/fuzz.py --cases 750 rows recipes results manifests

Each case is a valid input with up to three random damages, given to a command in a fork of this process. A right answer
is exit code 0, or a documented exit code and one sentence of at most 400 characters that names a file or an option. A
traceback, another exit code, more than 2 GB, more than ten seconds of CPU time, or an answer from other weights is
printed with the number of the case; ``--only NUMBER`` repeats it. A run with damaged checkpoints is resumed and tested:
it ends with the weights of the undamaged run, or is refused, and never starts afresh in silence.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.fuzz import KINDS, preload, try_cases
from vitrun.runtime.text_tables import format_table

REPORT_SECONDS = 60


def main(kinds: list[str], seeds: list[int], verbose: bool) -> int:
    """Try the cases; print those with a wrong answer, and a table of exit codes; return the number of wrong ones."""
    rows, shown = [], time.monotonic()
    for kind in kinds:
        started, codes, wrong = time.monotonic(), Counter[str](), 0
        for number, (seed, (problem, code, output)) in enumerate(zip(seeds, try_cases(kind, seeds)), 1):
            codes[code] += 1
            wrong += problem is not None
            if problem or verbose:
                print(f"{kind} {seed}: {problem}\n{output[-1500:] if problem and not verbose else output}", flush=True)
            if time.monotonic() - shown > REPORT_SECONDS:
                shown = time.monotonic()
                print(f"{kind}: {number} of {len(seeds)}, {wrong} wrong, {dict(codes)}", flush=True)
        seconds = f"{time.monotonic() - started:.0f}"
        counts = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
        rows.append([kind, str(len(seeds)), str(wrong), counts, seconds])
    print(format_table(["kind", "cases", "wrong", "exit codes", "seconds"], rows))
    return sum(int(row[2]) for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=" ".join(KINDS))
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="number of a single case, whose output is printed")
    given = parser.parse_args()
    kinds = given.kinds or list(KINDS)
    preload(kinds)
    chosen = range(given.seed, given.seed + given.cases) if given.only is None else [given.only]
    sys.exit(main(kinds, list(chosen), given.only is not None) > 0)
