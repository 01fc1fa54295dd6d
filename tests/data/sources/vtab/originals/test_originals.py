"""VTAB's sixteen originals, tiny and in the published formats: keys, labels and pixels, or an error."""

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from helpers import tfrecords as records
from helpers import vtab_originals as originals
from helpers.vtab_files import make_photo, write_file
from helpers.vtab_structured import NORB, encode_norb_matrix
from vitrun.data.sources.vtab.originals import SPLIT_READERS
from vitrun.errors import ExitCode, UserError

CLASSES = {
    "caltech101": {"label": 102}, "cifar100": {"label": 100}, "dtd": {"label": 47}, "oxford_flowers102": {"label": 102},
    "oxford_iiit_pet": {"label": 37}, "sun397": {"label": 397}, "svhn_cropped": {"label": 10}, "eurosat": {"label": 10},
    "patch_camelyon": {"label": 2}, "resisc45": {"label": 45}, "diabetic_retinopathy": {"label": 5},
    "clevr": {"count_all": 8, "closest_object_distance": 6}, "dmlab": {"label": 6}, "kitti": {"label": 4},
    "dsprites": {"label_x_position": 16, "label_orientation": 16},
    "smallnorb": {"label_azimuth": 18, "label_elevation": 9},
}  # fmt: skip
SOURCES = {
    "caltech101": "data.caltech.edu", "cifar100": "cs.toronto.edu", "dtd": "robots.ox.ac.uk", "kitti": "cvlibs.net",
    "oxford_flowers102": "robots.ox.ac.uk", "oxford_iiit_pet": "robots.ox.ac.uk", "sun397": "vision.princeton.edu",
    "svhn_cropped": "ufldl.stanford.edu", "patch_camelyon": "zenodo.org", "eurosat": "github.com/phelber",
    "resisc45": "1drv.ms", "diabetic_retinopathy": "kaggle.com", "clevr": "cs.stanford.edu",
    "dmlab": "storage.googleapis.com", "dsprites": "dsprites-dataset", "smallnorb": "cs.nyu.edu",
}  # fmt: skip
ACCOUNTS = {"kitti": "registration", "diabetic_retinopathy": "account at Kaggle"}


def make(name: str, root: Path) -> dict[str, originals.ExpectedSamples]:
    """Make a tiny original; skip the test if a package for its format is missing."""
    if name == "patch_camelyon":
        pytest.importorskip("h5py")
    return originals.MAKERS[name](root)


def pixels(image: bytes | np.ndarray) -> bytes | list:
    return image if isinstance(image, bytes) else [image.dtype, image.tolist()]


def read_error(name: str, root: Path, split: str = "train") -> str:
    """Return the message of the UserError that reading a folder raises."""
    with pytest.raises(UserError) as caught:
        SPLIT_READERS[name](root, split).image(0)
    assert caught.value.status == ExitCode.DATA and "\n" not in str(caught.value)
    return str(caught.value)


def test_there_is_a_reader_for_each_of_the_sixteen_originals():
    assert set(SPLIT_READERS) == set(originals.MAKERS) == set(CLASSES) and len(SPLIT_READERS) == 16


@pytest.mark.parametrize("name", SPLIT_READERS)
def test_a_published_original_is_read_to_its_keys_labels_and_pixels(name, tmp_path):
    for split, expected in make(name, tmp_path).items():
        original = SPLIT_READERS[name](tmp_path, split)
        places = {key: place for place, key in enumerate(original.keys)}
        assert sorted(original.keys) == sorted(key for key, _, _ in expected) and len(places) == len(expected)
        for key, labels, image in expected[:: max(1, len(expected) // 200)]:
            assert {label: values[places[key]] for label, values in original.labels.items()} == labels, key
            assert pixels(original.image(places[key])) == pixels(image), key
        assert {label: len(names) for label, names in original.classes.items()} == CLASSES[name]
        assert all(values.dtype == np.int64 for values in original.labels.values())
        assert str(tmp_path) in original.location and "\n" not in original.location


@pytest.mark.parametrize("name", SPLIT_READERS)
def test_the_error_for_an_empty_folder_says_what_is_missing_and_where_to_get_it(name, tmp_path):
    root = tmp_path / "empty"
    for content in ("no such folder", "nothing", "holiday.txt"):
        message = read_error(name, root)
        assert message.startswith(f"{name}: there is no {root}/") and f"found in {root}: {content}." in message
        assert (
            "Expected there: " in message and SOURCES[name] in message and ACCOUNTS.get(name, "no account") in message
        )
        root.mkdir(exist_ok=True)
        if content == "nothing":
            write_file(root / "holiday.txt", "")


def cut(path: str):
    """Cut off the end of a file."""
    return lambda root: write_file(root / path, (root / path).read_bytes()[: (root / path).stat().st_size * 3 // 5])


def remove(path: str):
    """Delete a file or folder."""
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def write(path: str, data: bytes | str):
    """Overwrite a file."""
    return lambda root: write_file(root / path, data)


def replace(path: str, old: str, new: str):
    """Replace a part of a text file."""
    return lambda root: write_file(root / path, (root / path).read_text().replace(old, new))


def write_huge(root: Path) -> None:
    """Write a photograph in full size into the folder."""
    write_file(root / "train" / "10_left.jpeg", make_photo(1, size=(3888, 2592)))


def write_digits(value: int):
    """Write a MATLAB file with one image of this digit."""
    matrices = {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.full((2, 1), value, np.uint8)}
    return lambda root: savemat(root / "train_32x32.mat", matrices)


def encode_frame(label: int) -> bytes:
    """Return a TFRecord file of one frame."""
    return records.encode_record(records.encode_example({"image": b"", "filename": b"a", "label": label}))


def write_sprites(**arrays: np.ndarray):
    """Write an archive of two sprites with some ``arrays`` replaced."""
    contents = {
        "imgs": np.zeros((2, 64, 64), np.uint8),
        "latents_classes": np.eye(2, 6, 5, dtype=np.int64)[::-1],
    } | arrays
    return lambda root: np.savez_compressed(root / NPZ, **contents)


def move(old: str, new: str):
    """Rename a file or folder."""
    return lambda root: (root / old).rename(root / new)


PCAM, SCENES = "camelyonpatch_level_2_split_train", "CLEVR_v1.0/scenes/CLEVR_train_scenes.json"
NPZ, TFRECORD = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", "dmlab-train.tfrecord-00000-of-00002"
DAT, INFO = f"{NORB['train']}-dat.mat", f"{NORB['train']}-info.mat"
# case: function that damages the folder of an original, and part of the message
WRONG = {
    "caltech101 a class": (remove("101_ObjectCategories/Faces"), "101 folders, not one for each of 102 classes"),
    "caltech101 image": (remove("101_ObjectCategories/Faces/image_0005.jpg"),
                         "1 of 4 images are missing, the first Faces/"),
    "caltech101 one list": (remove("caltech101_train.txt"), "there is no {root}/caltech101_train.txt"),
    "caltech101 a key": (write("caltech101_train.txt", "Dog/image_0001.jpg"), "caltech101_train.txt is not as publish"),
    "cifar100 cut": (cut("cifar-100-binary/train.bin"), "5533 bytes are not a multiple of a record's 3074"),
    "cifar100 python": (move("cifar-100-binary", "cifar-100-python"), "pickles, which may run code and are never"),
    "cifar100 empty": (write("cifar-100-binary/train.bin", b""), "0 bytes are not a multiple of a record"),
    "cifar100 label": (write("cifar-100-binary/train.bin", bytes([0, 100, *[0] * 3072])), "0 has the label 100, not"),
    "cifar100 names": (write("cifar-100-binary/fine_label_names.txt", "apple\n"), "it has 1 names, not 100"),
    "dtd image": (remove("dtd/images/banded/banded_0000.jpg"), "1 of 2 images are missing, the first banded/"),
    "dtd list": (remove("dtd/labels/train1.txt"), "{root}/dtd/labels/train1.txt"),
    "dtd empty list": (write("dtd/labels/train1.txt", ""), "train1.txt: there are no images"),
    "oxford_flowers102 empty": (write("setid.mat", b""), "setid.mat is not as published"),
    "oxford_flowers102 page": (write("imagelabels.mat", "<html>Not found"), "imagelabels.mat is not as published"),
    "oxford_flowers102 image": (remove("jpg/image_00004.jpg"), "1 of 2 images are missing, the first image_00004.jpg"),
    "oxford_iiit_pet breeds": (write("annotations/trainval.txt", "Abyssinian_1 1 1 1"), "of 1 breeds, not of 37"),
    "oxford_iiit_pet line": (write("annotations/trainval.txt", "Abyssinian_1 one"), "trainval.txt is not as published"),
    "oxford_iiit_pet image": (remove("images/Breed_01_100.jpg"), "1 of 37 images are missing, the first Breed_01"),
    "sun397 names": (write("SUN397/ClassName.txt", "/a/abbey\n"), "it has 1 names, not 397"),
    "sun397 lists": (remove("sun397_tfds_tr.txt"), "sun397_tfds_{tr,va,te}.txt of the package tensorflow_datasets"),
    "sun397 class": (write("sun397_tfds_tr.txt", "/a/moon/sun_1.jpg"), "KeyError: '/a/moon'"),
    "sun397 image": (remove("SUN397/a/abbey/sun_train.jpg"), "1 of 2 images are missing, the first a/abbey"),
    "svhn_cropped cut": (cut("train_32x32.mat"), "train_32x32.mat is not as published"),
    "svhn_cropped digits": (write_digits(11), "y goes from 11 to 11, but digits are 1 to 10"),
    "patch_camelyon cut": (cut(f"{PCAM}_x.h5"), "_x.h5 is not as published: OSError"),
    "patch_camelyon gzip": (move(f"{PCAM}_y.h5", f"{PCAM}_y.h5.gz"), "gunzip {root}/camelyonpatch_level_2"),
    "patch_camelyon swapped": (move(f"{PCAM}_y.h5", f"{PCAM}_x.h5"), "{root}/camelyonpatch_level_2_split_train_x"),
    "eurosat class": (remove("2750/Forest"), "9 folders, not one for each of 10 classes"),
    "eurosat bands": (move("2750", "EuroSATallBands"), "the version in colour"),
    "resisc45 class": (remove("NWPU-RESISC45/palace"), "44 folders, not one for each of 45 classes"),
    "diabetic_retinopathy raw": (write_huge, "3888 by 2592 pixels, but processed images have 540 at most"),
    "diabetic_retinopathy level": (write("trainLabels.csv", "image,level\n10_left,5\n"), "10_left has the label 5"),
    "diabetic_retinopathy image": (remove("train/10_right.jpeg"), "1 of 2 images are missing, the first 10_right.jpeg"),
    "clevr cut": (cut(SCENES), "scenes.json is not as published: JSONDecodeError"),
    "clevr depth": (replace(SCENES, "90, 10.5]", "90]"), "scenes.json is not as published"),
    "clevr image": (remove("CLEVR_v1.0/images/train/CLEVR_train_000001.png"), "1 of 3 images are missing, the first C"),
    "dmlab cut": (cut(TFRECORD), "it ends within the record at byte"),
    "dmlab length": (write(TFRECORD, bytes(16)), "the length of the record at byte 0 does not match its checksum"),
    "dmlab fields": (write(TFRECORD, records.encode_record(b"\x0a\x09")),
                     "a field of 9 bytes does not fit its message"),
    "dmlab label": (write(TFRECORD, encode_frame(label=6)), "a has the label 6, not one of the classes 0 to 5"),
    "dsprites cut": (cut(NPZ), "is not as published: BadZipFile"),
    "dsprites order": (write_sprites(latents_classes=np.zeros((2, 6), np.int64)), "not in the order of their factors"),
    "dsprites pickle": (write_sprites(latents_classes=np.array([None])), "Object arrays cannot be loaded"),
    "dsprites shape": (write_sprites(imgs=np.zeros((2, 32, 32), np.uint8)),
                       "imgs is [2, 32, 32] of uint8, not [N, 64, 64]"),
    "kitti image": (remove("training/image_2"), "{root}/data_object_image_2/training/image_2"),
    "kitti labels": (remove("training/label_2/000000.txt"), "000000.txt is not as published: FileNotFoundError"),
    "kitti line": (write("training/label_2/000000.txt", "Car 0.00 0"), "000000.txt is not as published: IndexError"),
    "kitti order": (write("mapping/train_rand.txt", "1,41"), "it names lines 1 to 41 of 40"),
    "kitti text": (write("mapping/train_rand.txt", "<html>"), "train_rand.txt is not as published: ValueError"),
    "smallnorb magic": (write(DAT, bytes(24)), "it starts with 0x00000000, which is not a matrix of bytes or integers"),
    "smallnorb cut": (cut(DAT), "dat.mat is not as published: ValueError"),
    "smallnorb rows": (write(INFO, encode_norb_matrix(np.zeros((2, 4), "<i4"))),
                       "3 images, but the info file beside it"),
    "smallnorb swapped": (move(INFO, DAT), "[3, 4], not [N, 2, 96, 96]"),
    "smallnorb angle": (write(INFO, encode_norb_matrix(np.full((3, 4), 36, "<i4"))),
                        "0 has the label_azimuth 18, not"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_missing_or_broken_file_is_one_clear_error(case, tmp_path):
    name, (spoil, part) = case.split()[0], WRONG[case]
    make(name, tmp_path)
    spoil(tmp_path)
    message = read_error(name, tmp_path)
    assert part.replace("{root}", str(tmp_path)) in message
    assert str(tmp_path) in message
    assert any(hint in message for hint in ("Fetch it again", "Expected there", "gunzip"))


def test_files_are_also_found_in_the_folder_of_their_archive(tmp_path):
    expected = originals.dtd(tmp_path)
    for root in (tmp_path, tmp_path / "dtd"):
        assert SPLIT_READERS["dtd"](root, "test").keys == [key for key, _, _ in expected["test"]]


def test_gzipped_matrices_are_read_like_plain_ones(tmp_path):
    expected = originals.smallnorb(tmp_path)
    for path in list(tmp_path.iterdir()):
        write_file(Path(f"{path}.gz"), gzip.compress(path.read_bytes()))
        path.unlink()
    original = SPLIT_READERS["smallnorb"](tmp_path, "test")
    assert [pixels(original.image(n)) for n in range(3)] == [pixels(image) for _, _, image in expected["test"]]
    path = tmp_path / f"{DAT}.gz"
    path.write_bytes(path.read_bytes()[:-5000])
    assert "dat.mat.gz is not as published" in read_error("smallnorb", tmp_path)


def test_the_error_without_h5py_names_the_extra_to_install(tmp_path, monkeypatch):
    write_file(tmp_path / f"{PCAM}_x.h5", b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'vitrun[vtab]'" in read_error("patch_camelyon", tmp_path)


def test_the_error_without_scipy_names_the_extra_to_install(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write_file(tmp_path / f"{part}_32x32.mat", b"")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert "pip install 'vitrun[vtab]'" in read_error("svhn_cropped", tmp_path)
