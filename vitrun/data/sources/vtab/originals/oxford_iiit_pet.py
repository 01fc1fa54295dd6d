"""Oxford-IIIT Pet: photographs in one folder, and a text file a split with a line an image."""

from pathlib import Path

from vitrun.data.sources.vtab.originals import labels
from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

PUBLISHED = Published(
    "oxford_iiit_pet",
    "images/<Breed>_<n>.jpg of images.tar.gz and annotations/{trainval,test}.txt of annotations.tar.gz",
    "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    archives=("oxford-iiit-pet",),
)
LISTS = {"train": "trainval", "test": "test"}


def read(root: Path, split: str) -> Original:
    """The images of ``train`` (which the authors call trainval) or ``test``, keyed by file name."""
    path, keys = list_of(root, split), keys_of(root, split)
    return Original(
        keys=keys,
        labels={"label": labels.from_one([breed for _, breed in listing(path)])},
        classes={"label": breeds(PUBLISHED.find(root, "annotations/trainval.txt"))},
        where=str(path),
        **PUBLISHED.images(PUBLISHED.find(root, "images"), keys),
    )


def keys_of(root: Path, split: str) -> list[str]:
    """The keys of a split."""
    return [f"{name}.jpg" for name, _ in listing(list_of(root, split))]


def list_of(root: Path, split: str) -> Path:
    """The file that lists a split."""
    return PUBLISHED.find(root, f"annotations/{LISTS[split]}.txt")


def listing(path: Path) -> list[tuple[str, int]]:
    """Name and breed, counted from 1, of each line ``name breed species number``; lines with # are comments."""
    lines = [line.split() for line in PUBLISHED.lines(path) if not line.startswith("#")]
    with PUBLISHED.reading(path):
        return [(name, int(breed)) for name, breed, _, _ in lines]


def breeds(path: Path) -> tuple[str, ...]:
    """The names of the 37 breeds, which are those of their images without the number."""
    names = {number: name.rpartition("_")[0] for name, number in listing(path)}
    if sorted(names) != list(range(1, 38)):
        raise PUBLISHED.broken(path, f"it has images of {len(names)} breeds, not of 37")
    return tuple(names[number] for number in sorted(names))
