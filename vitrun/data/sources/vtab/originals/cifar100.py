"""CIFAR-100 in its binary version: per image a record of coarse label (1 byte), fine label (1) and pixels (3072)."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "cifar100",
    "train.bin, test.bin and fine_label_names.txt of cifar-100-binary.tar.gz (not the python version: its files are "
    "pickles, which may run code and are never read)",
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    archives=("cifar-100-binary",),
)
RECORD = 2 + 3 * 32 * 32


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return ``train`` or ``test``, keyed by row number, with fine labels."""
    path = ARCHIVE.find(root, f"{split}.bin")
    if path.stat().st_size == 0 or path.stat().st_size % RECORD:
        raise ARCHIVE.damaged_error(path, f"its {path.stat().st_size} bytes are not a multiple of a record's {RECORD}")
    ARCHIVE.check_number(path, path.stat().st_size // RECORD)
    names = ARCHIVE.find(root, "fine_label_names.txt")
    classes = tuple(ARCHIVE.read_lines(names))
    if len(classes) != 100:
        raise ARCHIVE.damaged_error(names, f"it has {len(classes)} names, not 100")
    records = np.memmap(path, np.uint8, "r").reshape(-1, RECORD)
    return OriginalSplit(
        keys=[str(row) for row in range(len(records))],
        labels={"label": records[:, 1].astype(np.int64)},
        classes={"label": classes},
        image=lambda index: records[index, 2:].reshape(3, 32, 32).transpose(1, 2, 0),
        location=str(path),
    )
