"""Annotations of boxes, tables of captions and labels, and folders of other programs' weights, with random damages."""

import csv
import json
import random
from pathlib import Path

from helpers import damaged_text, damages

SUFFIXES = {".json", ".jsonl", ".csv", ".tsv", ".txt", ".yaml"}
TRAIN = ["batch=4", "steps=1", "warmup=0", "device=cpu", "precision=fp32", "runs=runs"]


def write_image(file: Path, random_: random.Random) -> None:
    """Write an image of 16 x 16 pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(damages.encode_image(random_))


def make_boxes(root: Path, random_: random.Random) -> list[list[str]]:
    """Write images with boxes in COCO's JSON or in YOLO's layout; return a command that reads them."""
    random_.choice([write_coco, write_yolo])(root / "in", random_)
    if random_.random() < 0.5:
        return [["data", "coco", "data.path=in"]]
    return [["pretrain", "objective=detection", "model=yolos_nano", "data=coco", "data.path=in", "res=16", *TRAIN]]


def write_coco(folder: Path, random_: random.Random) -> None:
    """Write ``train.json``, ``val.json`` and the images of both."""
    for part in ("train", "val"):
        names = [f"{part}{number}.png" for number in range(5)]
        images = [{"id": 7 * row, "file_name": name, "width": 16, "height": 16} for row, name in enumerate(names)]
        boxes = [[random_.randint(0, 8), random_.randint(0, 8), 3.5, 6.0] for _ in range(8)]
        annotations = [
            {
                "id": row,
                "image_id": 7 * (row % 4),
                "category_id": (3, 90)[row % 2],
                "bbox": box,
                "area": 21.0,
                "iscrowd": 0,
            }
            for row, box in enumerate(boxes)
        ]
        categories = [{"id": 90, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "cat"}]
        for name in names:
            write_image(folder / "images" / name, random_)
        tree = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        (folder / f"{part}.json").write_text(json.dumps(tree, indent=random_.choice([None, 1])), encoding="utf-8")


def write_yolo(folder: Path, random_: random.Random) -> None:
    """Write ``data.yaml``, images, and the labels of each."""
    for part in ("train", "val"):
        for number in range(5):
            write_image(folder / "images" / part / f"{number}.png", random_)
            lines = [f"{random_.randrange(2)} 0.5 0.4 0.25 0.3" for _ in range(random_.randint(number == 0, 2))]
            labels = folder / "labels" / part / f"{number}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    names = random_.choice(["names: [cat, dog]", "names:\n  0: cat\n  1: dog"])
    (folder / "data.yaml").write_text(
        f"path: .\ntrain: images/train\nval: images/val\nnc: 2\n{names}\n", encoding="utf-8"
    )


def make_captions(root: Path, random_: random.Random) -> list[list[str]]:
    """Write images with captions in one of the forms of tables; return a command that reads them."""
    name = random_.choice(["pairs.csv", "pairs.tsv", "pairs.jsonl", "coco.json", "karpathy.json", ""])
    images = [f"images/{number}.png" for number in range(20)]
    captions = [f"a drawn picture, number {number}" for number in range(20)]
    for image, caption in zip(images, captions):
        write_image(root / "in" / image, random_)
        if not name:
            (root / "in" / image).with_suffix(".txt").write_text(f"{caption}\n", encoding="utf-8")
    if name:
        write_table(root / "in" / name, "caption", images, captions)
    data = ["data.path=in" + (f"/{name}" if name else "/images")]
    if random_.random() < 0.5:
        return [["data", "captions", *data]]
    return [["pretrain", "objective=contrastive", "model=clip_nano", "data=captions", *data, "res=16", *TRAIN]]


def make_tables(root: Path, random_: random.Random) -> list[list[str]]:
    """Write images and a table of their labels; return a command that reads them."""
    images, classes = [f"images/{number}.png" for number in range(20)], ["cat", "a dog", "7"]
    name = random_.choice(["labels.csv", "labels.tsv", "labels.jsonl"])
    for image in images:
        write_image(root / "in" / image, random_)
    write_table(root / "in" / name, "label", images, [classes[row % 3] for row in range(20)])
    data = [f"data.path=in/{name}"]
    if random_.random() < 0.5:
        return [["data", "table", *data]]
    return [["pretrain", "model=vit_nano8", "data=table", *data, "res=16", *TRAIN]]


def write_table(file: Path, column: str, images: list[str], texts: list[str]) -> None:
    """Write a table of images with their labels or captions in the form of its name."""
    rows = list(zip(images, texts))
    if file.suffix in (".csv", ".tsv"):
        with file.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter="," if file.suffix == ".csv" else "\t").writerows(
                [("filepath", column), *rows]
            )
    elif file.suffix == ".jsonl":
        lines = [json.dumps({"image": image, column: text}) for image, text in rows]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    elif file.name == "coco.json":
        listed = [{"id": row, "file_name": image} for row, image in enumerate(images)]
        captions = [{"id": row, "image_id": row, "caption": caption} for row, caption in enumerate(texts)]
        file.write_text(json.dumps({"images": listed, "annotations": captions}), encoding="utf-8")
    else:
        parts = ["train", "test", "val", "restval"]
        listed = [
            {
                "filename": Path(image).name,
                "filepath": "images",
                "split": parts[row % 4],
                "sentences": [{"raw": caption}],
            }
            for row, (image, caption) in enumerate(rows)
        ]
        file.write_text(json.dumps({"dataset": "x", "images": listed}), encoding="utf-8")


def make_weight_folders(root: Path, random_: random.Random) -> list[list[str]]:
    """Save a tiny ViT as timm or transformers do; return a command that reads it."""
    import timm
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    if random_.random() < 0.5:
        size = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 3}
        network = timm.create_model("vit_tiny_patch16_224", **size)
        labels = {"label_names": ["dog", "cat", "eel"]}
        timm.models.save_for_hf(network, root / "in", safe_serialization=True, model_config=labels)
    else:
        labels = {"id2label": {0: "dog", 1: "cat", 2: "eel"}}
        config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, **labels)
        shard = random_.choice([{}, {"max_shard_size": "100KB"}])
        transformers.ViTForImageClassification(config).save_pretrained(root / "in", **shard)
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "in")
    return [["export", "init=in", "to=timm", "path=out"]]


def list_texts(root: Path, suffixes: set[str] = SUFFIXES) -> list[Path]:
    """Return the files of the input that are text."""
    files = (path for path in (root / "in").rglob("*") if path.suffix in suffixes)
    return sorted(path for path in files if path.is_file() and not path.is_symlink())


def choose_text(root: Path, random_: random.Random) -> Path | None:
    """Return a text of the input; None if there is none."""
    files = list_texts(root)
    return random_.choice(files) if files else None


TEXTS = tuple(damages.on_moved(damage, choose_text, "text.yaml") for damage in damaged_text.DAMAGES)
JSON = (damages.edit_json("json", lambda root: list_texts(root, {".json", ".jsonl"})),) * 6
OTHERS = (damages.rename, damages.replace_content, damages.truncate, damages.flip_bits, damages.add_special)
DAMAGES = (*TEXTS, *JSON, *OTHERS, damages.remove_something)
KINDS = {
    "boxes": damages.Kind(make_boxes, DAMAGES),
    "captions": damages.Kind(make_captions, DAMAGES),
    "tables": damages.Kind(make_tables, DAMAGES),
    "weight_folders": damages.Kind(make_weight_folders, DAMAGES),
}
