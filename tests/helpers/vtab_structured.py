"""Tiny originals of VTAB's structured tasks, written as their authors publish them."""

import json
import struct
from itertools import product
from pathlib import Path

import numpy as np

from helpers.tfrecords import encode_example, encode_record
from helpers.vtab_files import ExpectedSamples, make_photo, random_pixels, write_file

NORB = {"train": "smallnorb-5x46789x9x18x6x2x96x96-training", "test": "smallnorb-5x01235x9x18x6x2x96x96-testing"}


def clevr(root: Path) -> dict[str, ExpectedSamples]:
    base = root / "CLEVR_v1.0"
    scenes = {  # depths of the objects, and the labels of number and distance
        "train": [([12.5, 8.0, 9.0], 0, 0), ([8.6, 8.5, 9.0, 11.0], 1, 1), ([10.5] * 10, 7, 5)],
        "validation": [([9.2, 9.75, 13.0], 0, 3)],
    }
    samples = {}
    for split, part in {"train": "train", "validation": "val"}.items():
        described, samples[split] = [], []
        for n, (depths, count, distance) in enumerate(scenes[split]):
            name = f"CLEVR_{part}_{n:06d}.png"
            write_file(base / "images" / part / name, make_photo(n, "PNG"))
            objects = [
                {"color": "red", "3d_coords": [0, 0, 0.7], "pixel_coords": [100, 90, depth], "rotation": 1.0}
                for depth in depths
            ]
            relations = {"behind": [[1]] * len(depths)}
            described.append(
                {"image_index": n, "image_filename": name, "objects": objects, "relationships": relations,
                 "directions": {"right": [0.6, 0.8, 0.0]}, "split": part}
            )  # fmt: skip
            labels = {"count_all": count, "closest_object_distance": distance}
            samples[split].append((name, labels, make_photo(n, "PNG")))
        content = {"info": {"split": part, "license": "CC BY 4.0"}, "scenes": described}
        write_file(base / "scenes" / f"CLEVR_{part}_scenes.json", json.dumps(content))
    return samples


def dmlab(root: Path) -> dict[str, ExpectedSamples]:
    shards = {"train": ((0, 1), (2,)), "validation": ((3,),), "test": ((4, 5),)}
    for split, some in shards.items():
        for shard, numbers in enumerate(some):
            rows = []
            for n in numbers:
                features = {"filename": f"level_{n:03d}.jpg".encode(), "image": make_photo(n), "label": n}
                order = sorted(features, reverse=bool(n % 2))  # the fields of a map have no order
                rows.append(encode_record(encode_example({name: features[name] for name in order})))
            write_file(root / f"dmlab-{split}.tfrecord-{shard:05d}-of-{len(some):05d}", b"".join(rows))
    return {
        split: [(f"level_{n:03d}.jpg", {"label": n}, make_photo(n)) for numbers in some for n in numbers]
        for split, some in shards.items()
    }


def dsprites(root: Path) -> dict[str, ExpectedSamples]:
    """Write the first 3,200 images: one shape and scale, orientations 0 to 3."""
    root.mkdir(parents=True, exist_ok=True)
    factors = list(product(range(4), range(32), range(32)))[:3200]
    images = np.zeros((3200, 64, 64), np.uint8)
    images[np.arange(3200), np.arange(3200) % 64, np.arange(3200) // 64] = 1
    latents = np.array([(0, 0, 0, orientation, x, y) for orientation, x, y in factors], np.int64)
    np.savez_compressed(
        root / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        metadata=np.array({"title": "dSprites"}, dtype=object), imgs=images, latents_classes=latents,
        latents_values=latents.astype(float),
    )  # fmt: skip
    labels = [
        {"label_x_position": x // 2, "label_orientation": int(orientation / 2.5)} for orientation, x, _ in factors
    ]
    return {"train": [(str(row), labels[row], images[row] * np.uint8(255)) for row in range(3200)]}


# The labelled images of each of KITTI's 141 videos, in order of their names (mapping/ of the object devkit).
KITTI_FRAMES = (
    51, 6, 10, 287, 89, 23, 235, 215, 38, 154, 132, 14, 321, 258, 25, 131, 35, 187, 57, 240, 192, 28, 10, 112,
    4, 197, 80, 178, 18, 275, 288, 72, 5, 175, 68, 96, 128, 194, 166, 243, 577, 152, 88, 5, 198, 65, 107, 9, 20,
    3, 5, 21, 26, 24, 17, 21, 10, 11, 4, 11, 1, 1, 6, 1, 2, 5, 2, 2, 4, 11, 3, 10, 4, 4, 11, 4, 4, 4, 11, 4, 4,
    4, 11, 4, 5, 11, 4, 11, 4, 4, 8, 2, 3, 10, 4, 3, 3, 2, 9, 3, 3, 11, 4, 13, 3, 4, 1, 3, 3, 4, 11, 3, 5, 6, 4,
    6, 11, 4, 4, 12, 11, 3, 4, 4, 11, 3, 6, 4, 11, 3, 3, 3, 11, 3, 5, 6, 7, 103, 47, 208, 296
)  # fmt: skip


def kitti(root: Path) -> dict[str, ExpectedSamples]:
    """Write forty images of twenty videos, two of them drawn for testing and two for validation."""
    videos = [f"2011_09_26_drive_{number:04d}_sync" for number in range(20)]
    lines = [f"2011_09_26 {video} {frame:010d}" for video in videos for frame in (5, 9)]
    order = np.random.default_rng(1).permutation(40)  # the line of each image
    write_file(root / "mapping" / "train_mapping.txt", "\n".join(lines) + "\n")
    write_file(root / "mapping" / "train_rand.txt", ",".join(str(line + 1) for line in order))
    cases = (("Car 7.5", 0), ("Van 8.0", 0), ("Truck 20.5;Car 30", 2), ("Car 9;Van 20", 1), ("Tram 3", 3), ("", 3))
    for number in range(40):
        write_file(root / "training" / "image_2" / f"{number:06d}.png", make_photo(number, "PNG"))
        objects = [thing.split() for thing in f"{cases[number % 6][0]};DontCare -1000".strip(";").split(";")]
        text = "".join(f"{kind} 0.00 0 -1.57 1 2 3 4 1.5 1.6 3.9 -2.1 1.4 {z} -1.56\n" for kind, z in objects)
        write_file(root / "training" / "label_2" / f"{number:06d}.txt", text)
    np.random.seed(123)  # as tensorflow_datasets has it
    test = np.random.choice(sorted(videos), 2, replace=False)
    validation = np.random.choice(sorted(set(videos) - set(test)), 2, replace=False)
    part = {**dict.fromkeys(videos, "train"), **dict.fromkeys(test, "test"), **dict.fromkeys(validation, "validation")}
    samples = {"train": [], "validation": [], "test": []}
    for number, line in enumerate(order):
        row = (f"{number:06d}.png", {"label": cases[number % 6][1]}, make_photo(number, "PNG"))
        samples[part[videos[line // 2]]].append(row)
    return samples


def encode_norb_matrix(array: np.ndarray) -> bytes:
    """Encode NORB's binary format: a magic number, the number of dimensions, at least three dimensions, the numbers."""
    magic = {"u1": 0x1E3D4C55, "i4": 0x1E3D4C54}[array.dtype.str[1:]]
    dimensions = [*array.shape, *[1] * (3 - array.ndim)]
    return struct.pack(f"<{2 + len(dimensions)}i", magic, array.ndim, *dimensions) + array.tobytes()


def smallnorb(root: Path) -> dict[str, ExpectedSamples]:
    samples = {}
    for split, stem in NORB.items():
        images = random_pixels(3, 2, 96, 96)
        info = np.array([[4, 0, 0, 0], [6, 8, 34, 5], [7, 3, 12, 1]], "<i4")  # instance, elevation, azimuth, lighting
        write_file(root / f"{stem}-dat.mat", encode_norb_matrix(images))
        write_file(root / f"{stem}-cat.mat", encode_norb_matrix(np.array([0, 1, 2], "<i4")))
        write_file(root / f"{stem}-info.mat", encode_norb_matrix(info))
        samples[split] = [
            (str(n), {"label_azimuth": azimuth, "label_elevation": elevation}, images[n, 0])
            for n, (azimuth, elevation) in enumerate([(0, 0), (17, 8), (6, 3)])
        ]
    return samples
