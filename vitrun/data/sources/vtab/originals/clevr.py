"""CLEVR: rendered scenes, and a JSON file per split that lists the objects in them."""

from pathlib import Path
from typing import Any

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit
from vitrun.runtime.files import parse_json, read_regular_file

ARCHIVE = Archive(
    "clevr",
    "images/{train,val}/*.png and scenes/CLEVR_{train,val}_scenes.json of CLEVR_v1.0.zip",
    "https://cs.stanford.edu/people/jcjohns/clevr/",
    archives=("CLEVR_v1.0",),
)
MAX_JSON = 2**31  # bytes
SPLIT_NAMES = {"train": "train", "validation": "val"}  # the scenes of CLEVR's own test images are not published


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return a split, keyed by file name, with the number of objects and the distance of the nearest."""
    part = SPLIT_NAMES[split]
    path = ARCHIVE.find(root, f"scenes/CLEVR_{part}_scenes.json")
    with ARCHIVE.explain_errors(path):
        scenes = parse_json(read_regular_file(path, MAX_JSON), reduce_object)["scenes"]
        ARCHIVE.check_number(path, len(scenes))
        keys, depths = [name for name, _ in scenes], [objects for _, objects in scenes]
        counts = vtab_labels.clevr_count([len(objects) for objects in depths])
        distances = vtab_labels.clevr_distance(depths)
    return OriginalSplit(
        keys=keys,
        labels={"count_all": counts, "closest_object_distance": distances},
        classes={"count_all": vtab_labels.CLEVR_COUNTS, "closest_object_distance": vtab_labels.CLEVR_DISTANCES},
        location=str(path),
        **ARCHIVE.image_files(ARCHIVE.find(root, f"images/{part}"), keys),
    )


def reduce_object(node: dict[str, Any]) -> object:
    """Return an object as its depth, and a scene as file name and objects: the whole JSON would take gigabytes."""
    if "pixel_coords" in node:
        return node["pixel_coords"][2]
    if "image_filename" in node:
        return node["image_filename"], node["objects"]
    return node if "scenes" in node else None
