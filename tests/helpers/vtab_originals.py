"""Tiny originals, written as their authors publish them; each maker returns what a reader should find, by split."""

import csv
import json
import struct
from functools import cache
from io import BytesIO, StringIO
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from helpers.tfrecords import encode_example, encode_record

ExpectedSamples = list[tuple[str, dict[str, int], bytes | np.ndarray]]  # key, labels and image of each
PETS = tuple(f"Breed_{n:02d}" if n % 2 else f"breed_{n:02d}_cat" for n in range(1, 38))
SCENES = tuple(sorted(["/a/abbey", "/c/car_interior/backseat"] + [f"/z/scene_{n:03d}" for n in range(395)]))
NORB = {"train": "smallnorb-5x46789x9x18x6x2x96x96-training", "test": "smallnorb-5x01235x9x18x6x2x96x96-testing"}
RANDOM = np.random.default_rng(0)


@cache
def make_photo(number: int, kind: str = "JPEG", size: tuple[int, int] = (9, 7)) -> bytes:
    """An image file of one colour."""
    file = BytesIO()
    Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, 128)).save(file, kind)
    return file.getvalue()


def write_file(path: Path, data: bytes | str) -> None:
    """A file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def random_pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, np.uint8)


def write_class_folders(root: Path, classes: list[str], files: dict[str, int]) -> None:
    """A folder a class, and images by their paths below ``root``."""
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
    for path, number in files.items():
        write_file(root / path, make_photo(number))


def caltech101(root: Path) -> dict[str, ExpectedSamples]:
    classes = ["BACKGROUND_Google", "Faces", "accordion"] + [f"thing_{n:02d}" for n in range(99)]
    names = [f"{name}/image_{n:04d}.jpg" for name in classes[:3] for n in range(1, 32)]
    write_class_folders(root / "101_ObjectCategories", classes, {name: n % 31 for n, name in enumerate(names)})
    train = [f"{name}/image_{n:04d}.jpg" for name in ("Faces", "accordion") for n in (3, 5)]
    write_file(root / "caltech101_train.txt", "\n".join(train) + "\n")
    write_file(root / "caltech101_test.txt", "BACKGROUND_Google/image_0031.jpg\n")
    labels = {"accordion": 0, "BACKGROUND_Google": 1, "Faces": 2}  # as their names in small letters are sorted
    return {
        split: [
            (key, {"label": labels[key.split("/")[0]]}, (root / "101_ObjectCategories" / key).read_bytes())
            for key in keys
        ]
        for split, keys in {"train": train, "test": ["BACKGROUND_Google/image_0031.jpg"]}.items()
    }


def cifar100(root: Path) -> dict[str, ExpectedSamples]:
    samples = {}
    for split, fine in {"train": [99, 0, 7], "test": [5, 5]}.items():
        images = random_pixels(len(fine), 3, 32, 32)
        records = [bytes([1, label]) + image.tobytes() for label, image in zip(fine, images)]
        write_file(root / "cifar-100-binary" / f"{split}.bin", b"".join(records))
        samples[split] = [(str(n), {"label": label}, images[n].transpose(1, 2, 0)) for n, label in enumerate(fine)]
    write_file(root / "cifar-100-binary" / "fine_label_names.txt", "".join(f"thing {n}\n" for n in range(100)))
    return samples


def dtd(root: Path) -> dict[str, ExpectedSamples]:
    classes = ["banded", "zigzagged"] + [f"texture{n:02d}" for n in range(45)]
    lists = {"train": "train1", "validation": "val1", "test": "test1"}
    samples = {}
    for n, (split, name) in enumerate(lists.items()):
        keys = [f"banded/banded_{n:04d}.jpg", f"zigzagged/zigzagged_{n:04d}.jpg"]
        write_class_folders(root / "dtd" / "images", classes, {key: n + 9 for key in keys})
        write_file(root / "dtd" / "labels" / f"{name}.txt", "\n".join(keys) + "\n")
        samples[split] = [(key, {"label": label}, make_photo(n + 9)) for key, label in zip(keys, (0, 46))]
    write_file(root / "dtd" / "labels" / "train2.txt", "banded/banded_0001.jpg\n")
    return samples


def oxford_flowers102(root: Path) -> dict[str, ExpectedSamples]:
    labels, sets = [77, 102, 1, 5], {"train": ("trnid", [2, 4]), "validation": ("valid", [1]), "test": ("tstid", [3])}
    for n in range(1, 5):
        write_file(root / "jpg" / f"image_{n:05d}.jpg", make_photo(n))
    savemat(root / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    savemat(root / "setid.mat", {name: np.array([ids], np.uint16) for name, ids in sets.values()})
    return {
        split: [(f"image_{n:05d}.jpg", {"label": labels[n - 1] - 1}, make_photo(n)) for n in ids]
        for split, (_, ids) in sets.items()
    }


def oxford_iiit_pet(root: Path) -> dict[str, ExpectedSamples]:
    rows = {"train": [(f"{breed}_100", n) for n, breed in enumerate(PETS)], "test": [(f"{PETS[36]}_7", 36)]}
    for split, name in (("train", "trainval"), ("test", "test")):
        lines = [f"{image} {label + 1} 1 2" for image, label in rows[split]]
        write_file(root / "annotations" / f"{name}.txt", "\n".join(lines) + "\n")
        for image, label in rows[split]:
            write_file(root / "images" / f"{image}.jpg", make_photo(label))
    return {split: [(f"{i}.jpg", {"label": n}, make_photo(n)) for i, n in some] for split, some in rows.items()}


def sun397(root: Path) -> dict[str, ExpectedSamples]:
    write_file(root / "SUN397" / "ClassName.txt", "".join(f"{name}\n" for name in SCENES))
    samples = {}
    for n, (split, short) in enumerate({"train": "tr", "validation": "va", "test": "te"}.items()):
        keys = [f"/a/abbey/sun_{split}.jpg", f"/c/car_interior/backseat/sun_{split}.jpg"]
        write_class_folders(root / "SUN397", [], {key[1:]: n for key in keys})
        write_file(root / f"sun397_tfds_{short}.txt", "\n".join(keys) + "\n")
        samples[split] = [(key, {"label": label}, make_photo(n)) for key, label in zip(keys, (0, 1))]
    return samples


def svhn_cropped(root: Path) -> dict[str, ExpectedSamples]:
    root.mkdir(parents=True, exist_ok=True)
    samples = {}
    for split, digits in {"train": [10, 1, 9], "test": [4]}.items():
        images = random_pixels(32, 32, 3, len(digits))
        savemat(root / f"{split}_32x32.mat", {"X": images, "y": np.array(digits, np.uint8)[:, None]})
        samples[split] = [(str(n), {"label": y % 10}, images[..., n]) for n, y in enumerate(digits)]
    return samples


def patch_camelyon(root: Path) -> dict[str, ExpectedSamples]:
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    samples = {}
    for split, part in {"train": "train", "validation": "valid", "test": "test"}.items():
        images, labels = random_pixels(3, 96, 96, 3), [1, 0, 1]
        with h5py.File(root / f"camelyonpatch_level_2_split_{part}_x.h5", "w") as file:
            file["x"] = images
        with h5py.File(root / f"camelyonpatch_level_2_split_{part}_y.h5", "w") as file:
            file["y"] = np.array(labels, np.uint8).reshape(-1, 1, 1, 1)
        samples[split] = [(f"{part}_{n}", {"label": labels[n]}, images[n]) for n in range(3)]
    return samples


def eurosat(root: Path) -> dict[str, ExpectedSamples]:
    classes = ["AnnualCrop", "Forest"] + [f"Land{n}" for n in range(8)]
    files = {"AnnualCrop/AnnualCrop_1.jpg": 1, "AnnualCrop/AnnualCrop_2.jpg": 2, "Forest/Forest_687.jpg": 3}
    write_class_folders(root / "2750", classes, files)
    keys = ["AnnualCrop_AnnualCrop_1.jpg", "AnnualCrop_AnnualCrop_2.jpg", "Forest_Forest_687.jpg"]
    return {"train": [(key, {"label": n // 2}, make_photo(n + 1)) for n, key in enumerate(keys)]}


def resisc45(root: Path) -> dict[str, ExpectedSamples]:
    classes = ["airplane", "palace"] + [f"view_{n:02d}" for n in range(43)]
    write_class_folders(root / "NWPU-RESISC45", classes, {"airplane/airplane_001.jpg": 1, "palace/palace_207.jpg": 2})
    keys = ["airplane_airplane_001.jpg", "palace_palace_207.jpg"]
    return {"train": [(key, {"label": n}, make_photo(n + 1)) for n, key in enumerate(keys)]}


def to_csv(rows: list[dict[str, str]]) -> str:
    """Rows as CSV."""
    file = StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def diabetic_retinopathy(root: Path) -> dict[str, ExpectedSamples]:
    train, test = {"10_left": 0, "10_right": 4}, {"1_left": ("Public", 2), "1_right": ("Private", 3)}
    write_file(
        root / "trainLabels.csv", to_csv([{"image": name, "level": str(level)} for name, level in train.items()])
    )
    rows = [{"image": name, "level": str(level), "Usage": usage} for name, (usage, level) in test.items()]
    write_file(root / "retinopathy_solution.csv", to_csv(rows))
    for n, name in enumerate([*train, *test]):
        write_file(root / ("train" if name in train else "test") / f"{name}.jpeg", make_photo(n))
    return {
        "train": [("10_left", {"label": 0}, make_photo(0)), ("10_right", {"label": 4}, make_photo(1))],
        "validation": [("1_left", {"label": 2}, make_photo(2))],
        "test": [("1_right", {"label": 3}, make_photo(3))],
    }


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
                order = sorted(features, reverse=bool(n % 2))  # a map has none
                rows.append(encode_record(encode_example({name: features[name] for name in order})))
            write_file(root / f"dmlab-{split}.tfrecord-{shard:05d}-of-{len(some):05d}", b"".join(rows))
    return {
        split: [(f"level_{n:03d}.jpg", {"label": n}, make_photo(n)) for numbers in some for n in numbers]
        for split, some in shards.items()
    }


def dsprites(root: Path) -> dict[str, ExpectedSamples]:
    """The first 3,200 images: one shape and scale, orientations 0 to 3."""
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
    """Forty images of twenty videos, two of them drawn for testing and two for validation."""
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
    """NORB's binary format: a magic number, the number of dimensions, three dimensions at least, the numbers."""
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


MAKERS = {
    make.__name__: make
    for make in (
        caltech101, cifar100, dtd, oxford_flowers102, oxford_iiit_pet, sun397, svhn_cropped, patch_camelyon, eurosat,
        resisc45, diabetic_retinopathy, clevr, dmlab, dsprites, kitti, smallnorb,
    )
}  # fmt: skip
