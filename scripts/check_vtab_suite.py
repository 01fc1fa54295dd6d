"""Run the VTAB-1k suite on made-up originals of the published sizes: one command, killed midway and resumed.

    python scripts/check_vtab_suite.py FOLDER

Makes all sixteen originals in FOLDER/originals unless they exist: the published number of images, on which VTAB's
slices depend, in the published formats; every image is a few pixels of one colour. Fine-tunes a small untrained model
on the nineteen tasks with three seeds each, kills that with SIGKILL, starts it again, and checks that no finished task
was repeated. Needs 4 GB of disk and half a million file names, which a second call reuses. Takes less than five minutes
of one core, of which every process spends 4 s on its start (torch 1.9 s, the imports of its optimizers 1.5 s), and
should take less than ten minutes on two cores.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from functools import cache
from itertools import count, product
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.tfrecords import encode_example, mask_crc
from helpers.vtab_files import make_photo, write_file
from helpers.vtab_originals import PETS, SCENES, to_csv
from helpers.vtab_structured import KITTI_FRAMES, NORB, encode_norb_matrix
from vitrun.data.sources.vtab.builders import BUILDERS
from vitrun.papers.vtab_tasks import TASKS

OVERRIDES = [
    "data=vtab",
    "init=random:vit_nano8",
    "res=16",
    "batch=512",
    "epochs=null",
    "steps=3",
    "warmup=1",
    "seeds=0,1,2",
]
SIZES = {name: row.splits for name, row in BUILDERS.items()}
COLOURS = 64  # different images, hard-linked to all names
KILLED_AT = 33  # finished runs, of 4 a task


@cache
def make_base_file(root: Path, number: int, kind: str) -> Path:
    """Return the file of an image to link to; write it if it is missing."""
    path = root.parent / "images" / f"{number}.{kind.lower()}"
    write_file(path, make_photo(number, kind))
    return path


def link_images(root: Path, paths: list[str], kind: str = "JPEG") -> None:
    """Link an image to each path below ``root``."""
    folders = {str(Path(path).parent) for path in paths}
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        os.link(make_base_file(root, number % COLOURS, kind), root / path)


def write_lists(root: Path, names: dict[str, str], keys: dict[str, list[str]]) -> None:
    """Write a list of its keys for each split."""
    for split, name in names.items():
        write_file(root / name, "\n".join(keys[split]) + "\n")


def number_keys(classes: list[str], sizes: dict[str, int], form: str) -> dict[str, list[str]]:
    """Return the keys of each split, whose images have the classes in turn."""
    numbers = count()
    return {
        split: [form.format(name=classes[n % len(classes)], n=n) for n, _ in zip(numbers, range(size))]
        for split, size in sizes.items()
    }


def caltech101(root: Path, sizes: dict[str, int]) -> None:
    keys = number_keys([f"thing_{n:03d}" for n in range(102)], sizes, "{name}/image_{n:05d}.jpg")
    link_images(root / "101_ObjectCategories", sum(keys.values(), []))
    write_lists(root, {"train": "caltech101_train.txt", "test": "caltech101_test.txt"}, keys)


def cifar100(root: Path, sizes: dict[str, int]) -> None:
    for split, size in sizes.items():
        records = np.zeros((size, 2 + 3 * 32 * 32), np.uint8)
        records[:, 1] = np.arange(size) % 100
        records[:, 2:] = records[:, 1:2]
        write_file(root / f"{split}.bin", records.tobytes())
    write_file(root / "fine_label_names.txt", "".join(f"thing {n}\n" for n in range(100)))


def dtd(root: Path, sizes: dict[str, int]) -> None:
    keys = number_keys([f"texture{n:02d}" for n in range(47)], sizes, "{name}/{name}_{n:05d}.jpg")
    link_images(root / "dtd" / "images", sum(keys.values(), []))
    write_lists(root / "dtd" / "labels", {"train": "train1.txt", "validation": "val1.txt", "test": "test1.txt"}, keys)


def oxford_flowers102(root: Path, sizes: dict[str, int]) -> None:
    total = sum(sizes.values())
    link_images(root / "jpg", [f"image_{n:05d}.jpg" for n in range(1, total + 1)])
    savemat(root / "imagelabels.mat", {"labels": (np.arange(total) % 102 + 1).astype(np.uint8)[None]})
    ends = np.cumsum([0, *sizes.values()]).tolist()
    parts = [np.arange(first + 1, last + 1).astype(np.uint16)[None] for first, last in zip(ends, ends[1:])]
    savemat(root / "setid.mat", dict(zip(("trnid", "valid", "tstid"), parts)))


def oxford_iiit_pet(root: Path, sizes: dict[str, int]) -> None:
    keys = number_keys(list(PETS), sizes, "{name}_{n}")
    link_images(root / "images", [f"{key}.jpg" for key in sum(keys.values(), [])])
    rows = {s: [f"{k} {PETS.index(k.rpartition('_')[0]) + 1} 1 2" for k in keys[s]] for s in sizes}
    write_lists(root / "annotations", {"train": "trainval.txt", "test": "test.txt"}, rows)


def sun397(root: Path, sizes: dict[str, int]) -> None:
    keys = number_keys(list(SCENES), sizes, "{name}/sun_{n:06d}.jpg")
    link_images(root / "SUN397", [key[1:] for key in sum(keys.values(), [])])
    write_file(root / "SUN397" / "ClassName.txt", "".join(f"{name}\n" for name in SCENES))
    names = {split: f"sun397_tfds_{split[:2]}.txt" for split in sizes}
    write_lists(root, names, keys)


def svhn_cropped(root: Path, sizes: dict[str, int]) -> None:
    root.mkdir(parents=True)
    for split, size in sizes.items():
        digits = (np.arange(size) % 10 + 1).astype(np.uint8)
        images = np.broadcast_to(digits * np.uint8(20), (32, 32, 3, size))
        savemat(root / f"{split}_32x32.mat", {"X": images, "y": digits[:, None]}, do_compression=True)


def patch_camelyon(root: Path, sizes: dict[str, int]) -> None:
    """Write images that are not stored, and so read as grey."""
    root.mkdir(parents=True)
    for split, size in sizes.items():
        stem = f"camelyonpatch_level_2_split_{'valid' if split == 'validation' else split}"
        with h5py.File(root / f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", (size, 96, 96, 3), "u1", chunks=(1, 96, 96, 3), fillvalue=128)
        with h5py.File(root / f"{stem}_y.h5", "w") as file:
            file["y"] = (np.arange(size) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)


def eurosat(root: Path, sizes: dict[str, int]) -> None:
    link_images(
        root / "2750",
        number_keys(["AnnualCrop", *(f"Land{n}" for n in range(9))], sizes, "{name}/{name}_{n}.jpg")["train"],
    )


def resisc45(root: Path, sizes: dict[str, int]) -> None:
    keys = number_keys(["airplane", *(f"view{n:02d}" for n in range(44))], sizes, "{name}/{name}_{n}.jpg")["train"]
    link_images(root / "NWPU-RESISC45", keys)


def diabetic_retinopathy(root: Path, sizes: dict[str, int]) -> None:
    keys = number_keys(["left", "right"], sizes, "{n}_{name}")
    link_images(root / "train", [f"{key}.jpeg" for key in keys["train"]])
    link_images(root / "test", [f"{key}.jpeg" for key in keys["validation"] + keys["test"]])
    grade = {key: str(n % 5) for n, key in enumerate(sum(keys.values(), []))}
    write_file(root / "trainLabels.csv", to_csv([{"image": key, "level": grade[key]} for key in keys["train"]]))
    usages = {"validation": "Public", "test": "Private"}
    rows = [{"image": k, "level": grade[k], "Usage": use} for split, use in usages.items() for k in keys[split]]
    write_file(root / "retinopathy_solution.csv", to_csv(rows))


def clevr(root: Path, sizes: dict[str, int]) -> None:
    for size, part in zip(sizes.values(), ("train", "val")):
        names = [f"CLEVR_{part}_{n:06d}.png" for n in range(size)]
        link_images(root / "images" / part, names, "PNG")
        scenes = [
            {"image_filename": name, "objects": [{"pixel_coords": [1, 1, 7.9 + n % 5 / 2]}] * (3 + n % 8)}
            for n, name in enumerate(names)
        ]
        write_file(root / "scenes" / f"CLEVR_{part}_scenes.json", json.dumps({"scenes": scenes}))


def dmlab(root: Path, sizes: dict[str, int]) -> None:
    """Write records with a checksum of zero, which vitrun does not verify; it verifies that of the length."""
    length = cache(lambda size: struct.pack("<Q", size) + mask_crc(struct.pack("<Q", size)))
    for split, size in sizes.items():
        frames = [
            encode_example(
                {
                    "filename": f"level_{split}_{n:06d}.png".encode(),
                    "image": make_photo(n % COLOURS, "PNG"),
                    "label": n % 6,
                }
            )
            for n in range(size)
        ]
        whole = b"".join(length(len(frame)) + frame + bytes(4) for frame in frames)
        write_file(root / f"dmlab-{split}.tfrecord-00000-of-00001", whole)


def dsprites(root: Path, sizes: dict[str, int]) -> None:
    root.mkdir(parents=True)
    classes = np.array(list(product(range(1), range(3), range(6), range(40), range(32), range(32))), np.int64)
    np.savez_compressed(
        root / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        imgs=np.zeros((sizes["train"], 64, 64), np.uint8),
        latents_classes=classes,
    )


def kitti(root: Path, sizes: dict[str, int]) -> None:
    videos = [f"2011_09_26_drive_{n:04d}_sync" for n in range(len(KITTI_FRAMES))]
    lines = [f"2011_09_26 {video} {n:010d}" for video, frames in zip(videos, KITTI_FRAMES) for n in range(frames)]
    write_file(root / "mapping" / "train_mapping.txt", "\n".join(lines) + "\n")
    write_file(root / "mapping" / "train_rand.txt", ",".join(str(n + 1) for n in range(len(lines))))
    link_images(root / "training" / "image_2", [f"{n:06d}.png" for n in range(len(lines))], "PNG")
    for n in range(len(lines)):
        things = f"Car 0 0 0 1 2 3 4 1 1 1 0 0 {5 + n % 3 * 10} 0\n" if n % 4 else ""
        write_file(root / "training" / "label_2" / f"{n:06d}.txt", things)


def smallnorb(root: Path, sizes: dict[str, int]) -> None:
    """Write black images in sparse files of the published size."""
    for split, size in sizes.items():
        write_file(root / f"{NORB[split]}-dat.mat", struct.pack("<6i", 0x1E3D4C55, 4, size, 2, 96, 96))
        os.truncate(root / f"{NORB[split]}-dat.mat", 24 + size * 2 * 96 * 96)
        n = np.arange(size)
        write_file(
            root / f"{NORB[split]}-info.mat",
            encode_norb_matrix(np.stack([n % 5, n % 9, n % 18 * 2, n % 6], 1).astype("<i4")),
        )


MAKERS = (
    caltech101, cifar100, dtd, oxford_flowers102, oxford_iiit_pet, sun397, svhn_cropped, patch_camelyon, eurosat,
    resisc45, diabetic_retinopathy, clevr, dmlab, dsprites, kitti, smallnorb,
)  # fmt: skip


def make_originals(root: Path) -> None:
    """Make all missing originals, each completely or not at all."""
    for maker in MAKERS:
        name, started = maker.__name__, time.monotonic()
        if not (root / name).exists():
            aside = root / f".{name}.{os.getpid()}"
            maker(aside, SIZES[name])
            aside.rename(root / name)
            print(f"made {name}: {time.monotonic() - started:.1f} s", flush=True)


def start_suite(folder: Path) -> subprocess.Popen:
    """Start the command in its own process group."""
    overrides = [*OVERRIDES, f"data.root={folder / 'originals'}", f"runs={folder / 'runs'}"]
    command = [sys.executable, "-m", "vitrun", "finetune", *overrides]
    return subprocess.Popen(command, start_new_session=True)


def read_results(folder: Path) -> dict[str, int]:
    """Return the time at which each finished run was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (folder / "runs").glob("*/result.json")}


def count_attempts(folder: Path, run: str) -> int:
    """Return how often a run was started."""
    lines = (folder / "runs" / run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum('"started"' in line for line in lines)


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    make_originals(folder / "originals")
    if (folder / "runs").exists():
        sys.exit(f"{folder / 'runs'} is there already: delete it")
    began = time.monotonic()
    process = start_suite(folder)
    while len(read_results(folder)) < KILLED_AT and process.poll() is None:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before, killed = read_results(folder), time.monotonic()
    print(f"killed after {killed - began:.0f} s with {len(before)} runs finished", flush=True)
    status = start_suite(folder).wait()
    seconds = time.monotonic() - began
    assert status == 0, f"it ended with status {status}"
    after = read_results(folder)
    assert all(after[run] == finished and count_attempts(folder, run) == 1 for run, finished in before.items())
    (suite,) = (folder / "runs").glob("finetune-vit_nano8-vtab-*/result.json")
    result = json.loads(suite.read_text(encoding="utf-8"))["result"]
    assert set(result) >= {*TASKS, "natural", "specialized", "structured", "mean19"}
    assert result["metrics"]["mean19"]["std"] > 0
    print(f"19 tasks x 3 seeds in {seconds:.0f} s; none of the {len(before)} finished runs was repeated")
    assert seconds < 600, "it should take less than ten minutes"


if __name__ == "__main__":
    main()
