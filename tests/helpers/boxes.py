"""Sets of images with boxes in COCO's JSON."""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from vitrun.data.sources.coco.annotations import Annotations, read_annotations


def make_tree(number: int = 4, per_image: int = 2, width: int = 40, height: int = 30) -> dict:
    """Return an object of COCO with ids that have gaps: images 10, 17 ..., categories 3 and 90, and sound boxes."""
    generator = np.random.default_rng(number)
    images = [
        {"id": 10 + 7 * row, "file_name": f"{row:03d}.png", "width": width, "height": height} for row in range(number)
    ]
    boxes = np.concatenate([generator.integers(0, 12, (number * per_image, 2)) for _ in range(2)], 1) + [0, 0, 5, 5]
    annotations = [
        {"id": 100 + row, "image_id": images[row // per_image]["id"], "category_id": (90, 3)[row % 2],
         "bbox": [*map(float, box)], "area": float(box[2] * box[3]), "iscrowd": 0,
         "segmentation": [[0.0] * 8]}
        for row, box in enumerate(boxes.tolist())
    ]  # fmt: skip
    categories = [{"id": 90, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "cat"}]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def read_tree(tree: dict) -> Annotations:
    """Return what is read from a file with an object of COCO."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "boxes.json"
        file.write_text(json.dumps(tree))
        return read_annotations(file)


def write_images(folder: Path, tree: dict) -> None:
    """Write the images of an object of COCO: grey, with a bright place at each box."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in tree["images"]:
        pixels = np.full((image["height"], image["width"], 3), 60, np.uint8)
        for note in tree["annotations"]:
            left, top, width, height = note["bbox"]
            if note["image_id"] == image["id"]:
                pixels[int(top) : int(top + height), int(left) : int(left + width)] = 220
        Image.fromarray(pixels).save(folder / image["file_name"])


def write_coco(root: Path, number: int = 4) -> Path:
    """Write both parts as COCO has them; return ``root``."""
    (root / "annotations").mkdir(parents=True)
    for part in ("train", "val"):
        tree = make_tree(number if part == "train" else number + 1)
        for image in tree["images"]:
            image["file_name"] = f"{part}-{image['file_name']}"
        write_images(root / f"{part}2017", tree)
        (root / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(tree))
        (root / "annotations" / f"captions_{part}2017.json").write_text("{}")
    return root
