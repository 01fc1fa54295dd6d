"""Street View House Numbers, cropped to single digits: a MATLAB file per split."""

from pathlib import Path

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "svhn_cropped",
    "train_32x32.mat and test_32x32.mat, the cropped digits",
    "http://ufldl.stanford.edu/housenumbers/",
)


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return ``train`` or ``test``, keyed by row number."""
    path = ARCHIVE.find(root, f"{split}_32x32.mat")
    images, digits = ARCHIVE.read_matrices(path, "X", "y")
    ARCHIVE.check_number(path, digits.size)
    if not digits.size or images.shape != (32, 32, 3, digits.size):
        raise ARCHIVE.damaged_error(path, f"X is {list(images.shape)}, not [32, 32, 3, {digits.size}] as y is")
    if digits.min() < 1 or digits.max() > 10:
        raise ARCHIVE.damaged_error(path, f"y goes from {digits.min()} to {digits.max()}, but digits are 1 to 10")
    return OriginalSplit(
        keys=[str(row) for row in range(digits.size)],
        labels={"label": vtab_labels.svhn_digit(digits)},
        classes={"label": tuple("0123456789")},
        image=lambda index: images[..., index],
        location=str(path),
    )
