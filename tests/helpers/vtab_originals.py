"""Tiny originals of VTAB, written as their authors publish them; each maker returns the expected samples by split."""

import csv
from io import StringIO
from pathlib import Path

import numpy as np
from scipy.io import savemat

from helpers.vtab_files import ExpectedSamples, make_photo, random_pixels, write_class_folders, write_file
from helpers.vtab_structured import clevr, dmlab, dsprites, kitti, smallnorb

PETS = tuple(f"Breed_{n:02d}" if n % 2 else f"breed_{n:02d}_cat" for n in range(1, 38))
SCENES = tuple(sorted(["/a/abbey", "/c/car_interior/backseat"] + [f"/z/scene_{n:03d}" for n in range(395)]))


def caltech101(root: Path) -> dict[str, ExpectedSamples]:
    classes = ["BACKGROUND_Google", "Faces", "accordion"] + [f"thing_{n:02d}" for n in range(99)]
    names = [f"{name}/image_{n:04d}.jpg" for name in classes[:3] for n in range(1, 32)]
    write_class_folders(root / "101_ObjectCategories", classes, {name: n % 31 for n, name in enumerate(names)})
    train = [f"{name}/image_{n:04d}.jpg" for name in ("Faces", "accordion") for n in (3, 5)]
    write_file(root / "caltech101_train.txt", "\n".join(train) + "\n")
    write_file(root / "caltech101_test.txt", "BACKGROUND_Google/image_0031.jpg\n")
    labels = {"accordion": 0, "BACKGROUND_Google": 1, "Faces": 2}  # sorted by lower-case name
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
    """Return rows as CSV."""
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


MAKERS = {
    make.__name__: make
    for make in (
        caltech101, cifar100, dtd, oxford_flowers102, oxford_iiit_pet, sun397, svhn_cropped, patch_camelyon, eurosat,
        resisc45, diabetic_retinopathy, clevr, dmlab, dsprites, kitti, smallnorb,
    )
}  # fmt: skip
