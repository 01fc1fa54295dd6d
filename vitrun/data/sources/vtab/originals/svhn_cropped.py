"""Street View House Numbers, cropped to single digits: a MATLAB file a split."""

from pathlib import Path

from vitrun.data.sources.vtab.originals import labels
from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

PUBLISHED = Published(
    "svhn_cropped",
    "train_32x32.mat and test_32x32.mat, the cropped digits",
    "http://ufldl.stanford.edu/housenumbers/",
)


def read(root: Path, split: str) -> Original:
    """The images of ``train`` or ``test``, keyed by row number."""
    path = PUBLISHED.find(root, f"{split}_32x32.mat")
    images, digits = PUBLISHED.matrices(path, "X", "y")
    if images.shape != (32, 32, 3, digits.size):
        raise PUBLISHED.broken(path, f"X is {list(images.shape)}, not [32, 32, 3, {digits.size}] as y has it")
    if digits.min() < 1 or digits.max() > 10:
        raise PUBLISHED.broken(path, f"y goes from {digits.min()} to {digits.max()}, where digits are 1 to 10")
    return Original(
        keys=[str(row) for row in range(digits.size)],
        labels={"label": labels.svhn(digits)},
        classes={"label": tuple("0123456789")},
        image=lambda index: images[..., index],
        where=str(path),
    )
