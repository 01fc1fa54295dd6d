"""Compare the order of VTAB's images with that by TensorFlow Datasets' own hasher, as a GitHub table.

    python scripts/check_vtab_order.py

Needs ``pip install tensorflow_datasets`` (not TensorFlow). The keys of each builder are hashed as TFDS hashes them,
integers as integers and text as text; those of Sun397 come from the lists that TFDS ships, the others are computed from
file names.
"""

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

from tensorflow_datasets.core.hashing import Hasher

from vitrun.data.sources.vtab.builders import BUILDERS
from vitrun.data.sources.vtab.keys import KNOWN_BUILDERS, published_keys
from vitrun.data.tfds_order import tfds_order

LISTS = {"train": "tr", "validation": "va", "test": "te"}
ODD = [b"dmlab\\train_0001", "a\\b.jpg", "é.jpg", "4_left", "banded/banded_0002.jpg", "000012.png"]  # text and bytes


def main() -> None:
    """Print a row for each split; exit with 1 if any differs."""
    rows = {
        (builder, split): published_keys(builder, split)
        for builder in KNOWN_BUILDERS
        for split in BUILDERS[builder].splits
    }
    rows |= {("sun397", split): read_shipped_keys(split) for split in LISTS}
    rows["odd keys", "train"] = ODD
    print("| builder | split | keys | kind | first in order | SHA-256 of the order | same |\n|" + " --- |" * 7)
    same = [compare(builder, split, keys) for (builder, split), keys in rows.items()]
    sys.exit(not all(same))


def compare(builder: str, split: str, keys: list) -> bool:
    """Print the row of one split; return whether both orders are the same."""
    hasher = Hasher(split)
    theirs = [int(key) if isinstance(key, str) and key.isdigit() else key for key in keys]
    expected = sorted(range(len(keys)), key=lambda row: hasher.hash_key(theirs[row]))
    order = tfds_order(keys, split).tolist()
    code = hashlib.sha256(repr([keys[row] for row in order]).encode()).hexdigest()[:16]
    kind, same = type(theirs[0]).__name__, order == expected
    print(f"| {builder} | {split} | {len(keys)} | {kind} | {keys[order[0]]} | {code} | {'yes' if same else 'NO'} |")
    return same


def read_shipped_keys(split: str) -> list[str]:
    """Return the keys of Sun397 in the list that TFDS ships."""
    folder = Path(find_spec("tensorflow_datasets").origin).parent / "image_classification"
    lines = (folder / f"sun397_tfds_{LISTS[split]}.txt").read_text(encoding="utf-8").split()
    return [line if line.startswith("/") else f"/{line}" for line in lines]


if __name__ == "__main__":
    main()
