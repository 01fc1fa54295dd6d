"""Damage images, parquet files, tars, weights, rows of one's own and overrides, and check how vitrun answers.

    python scripts/fuzz.py folders parquet tars weights rows overrides --cases 500 --seed 0

Each case is a valid input with up to three random damages, given to a command in a fork of this process. A right answer
is exit code 0, or a documented exit code and one sentence of at most 400 characters that names a file or an option. A
traceback, another exit code, more than 2 GB, or no answer within ten seconds is printed with the number of the case;
``--only NUMBER`` repeats it.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.fuzz import KINDS, preload, try_case


def main(kinds: list[str], seeds: list[int], verbose: bool) -> int:
    """Run the cases; print those with a wrong answer and the number of each; return the number of wrong ones."""
    wrong = 0
    for kind in kinds:
        statuses: Counter[str] = Counter()
        for seed in seeds:
            problem, status, output = try_case(kind, seed)
            statuses[status] += 1
            if problem or verbose:
                wrong += problem is not None
                print(f"{kind} {seed}: {problem}\n{output[-1500:] if problem else output}", flush=True)
        print(f"{kind}: {len(seeds)} cases, exit codes {dict(statuses)}", flush=True)
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=" ".join(KINDS))
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="number of a single case, whose output is printed")
    given = parser.parse_args()
    preload()
    chosen = range(given.seed, given.seed + given.cases) if given.only is None else [given.only]
    sys.exit(main(given.kinds or list(KINDS), list(chosen), given.only is not None) > 0)
