"""Copies of VTAB's originals in the Hub's layout: exact where the images kept their names and none is missing."""

from pathlib import Path, PurePosixPath

from vitrun import choices
from vitrun.data import files
from vitrun.data.originals import ORIGINALS
from vitrun.data.originals.original import Original
from vitrun.data.vtab.tasks import BUILDERS
from vitrun.mistakes import Exit, Mistake

# The columns of image and label, and how many last parts of an image's path are its key; 0 where that is its row.
COPIES = {
    "caltech101": ("image", "label", 2),
    "cifar100": ("img", "fine_label", 0),
    "dtd": ("image", "label", 2),
    "oxford_flowers102": ("image", "label", 1),
    "oxford_iiit_pet": ("image", "label", 1),
    "svhn_cropped": ("image", "label", 0),
}
DIFFERS = "differs from the published split"  # in ``Original.where`` of a copy of other images


def read(builder: str, folder: Path, split: str) -> Original:
    """A split of the original in ``folder``, or of a copy in parquet, whose ``where`` says if it is another draw."""
    if not any(folder.glob("*.parquet")):
        return ORIGINALS[builder](folder, split)
    if builder not in COPIES:
        raise Mistake(
            f"{folder} is a copy in parquet, from which the keys of {builder} do not follow: give the original. "
            "`vitrun data vtab data.root=FOLDER` says where it comes from.",
            Exit.DATA,
        )
    image, label, parts = COPIES[builder]
    found = files.source(choices.data_row("parquet", path=folder, test=split, image=image, label=label), "test")
    rows, paths = zip(*(key.split("/", 1) for key in found.keys))
    keys = ["/".join(PurePosixPath(path).parts[-parts:]) for path in paths] if parts else [str(int(r)) for r in rows]
    if len(set(keys)) < len(keys) or not all(keys):
        raise Mistake(f"{folder}: its images have lost their names, from which VTAB's subset follows.", Exit.DATA)
    where, published = f"{folder}, a copy in the Hub's layout", BUILDERS[builder].splits[split]
    if len(keys) != published:
        where += f"; {len(keys)} images: {DIFFERS} of {published}, another draw"
    return Original(keys, {"label": found.labels}, {"label": found.classes}, found.encoded, where)
