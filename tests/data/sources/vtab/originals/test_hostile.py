"""Originals that somebody made to fill the memory, to hang a reader, or to have it read other files."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from helpers import vtab_originals as originals
from helpers.tfrecords import encode_example, encode_message, encode_record, mask_crc
from helpers.vtab_files import write_file
from helpers.vtab_structured import NORB
from vitrun.data.sources.vtab.originals import SPLIT_READERS, mat_file
from vitrun.errors import ExitCode, UserError

MEGABYTES = 2**20 * 40  # that reading may take
PCAM = "camelyonpatch_level_2_split_train"
NPZ, TFRECORD = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", "dmlab-train.tfrecord-00000-of-00002"


def read_error(name: str, root: Path) -> str:
    """Return the message of the UserError that reading a folder raises, with little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            SPLIT_READERS[name](root, "train").image(0)
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert caught.value.status == ExitCode.DATA and "\n" not in message and len(message) < 400 + 3 * len(str(root))
    return message


def write_npz(root: Path, member: str, shape: tuple[int, ...], kind: str, zeros: int) -> None:
    """Replace a member of dSprites by one whose header has a shape, and that has so many zeros."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(root / NPZ) as archive:
        others = {entry: archive.read(entry) for entry in archive.namelist() if entry != member}
    with zipfile.ZipFile(root / NPZ, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in others.items():
            archive.writestr(entry, content)
        archive.writestr(member, header.getvalue() + bytes(zeros))


def gzip_matrix(part: str, magic: int, *dimensions: int):
    """Replace a matrix of small NORB by a gzipped header with these dimensions and a megabyte of zeros."""

    def spoil(root: Path) -> None:
        (root / f"{NORB['train']}-{part}.mat").unlink()
        content = struct.pack(f"<{2 + len(dimensions)}i", magic, len(dimensions), *dimensions) + bytes(2**20)
        write_file(root / f"{NORB['train']}-{part}.mat.gz", gzip.compress(content))

    return spoil


def write_big_mat(root: Path) -> None:
    """Write a MATLAB file of a few kilobytes with 8 MB of zeros."""
    savemat(root / "train_32x32.mat", {"X": np.zeros((32, 32, 3, 2700), np.uint8), "y": [[1]]}, do_compression=True)


def write_link(outside: str):
    """Replace PatchCamelyon's images by a link to another file, or by values that are stored in one."""

    def spoil(root: Path) -> None:
        import h5py

        with h5py.File(root / "other.h5", "w") as other:
            other["x"] = np.zeros((2, 96, 96, 3), np.uint8)
        write_file(root / "secret", bytes(2 * 96 * 96 * 3))
        (root / f"{PCAM}_x.h5").unlink()
        with h5py.File(root / f"{PCAM}_x.h5", "w") as file:
            if outside == "link":
                file["x"] = h5py.ExternalLink("other.h5", "x")
            elif outside == "virtual":
                layout = h5py.VirtualLayout((2, 96, 96, 3), np.uint8)
                layout[:] = h5py.VirtualSource("other.h5", "x", (2, 96, 96, 3))
                file.create_virtual_dataset("x", layout)
            elif outside == "external":
                size = 2 * 96 * 96 * 3
                file.create_dataset("x", (2, 96, 96, 3), np.uint8, external=[(str(root / "secret"), 0, size)])
            else:
                file.create_dataset("x", (2, 96, 96, 3), np.uint8, maxshape=(None,) * 4, chunks=(10**4, 96, 96, 3))

    return spoil


def write_many_labels(root: Path) -> None:
    """Write labels of PatchCamelyon that take a terabyte once they are read."""
    import h5py

    (root / f"{PCAM}_y.h5").unlink()
    with h5py.File(root / f"{PCAM}_y.h5", "w") as file:
        file.create_dataset("y", (10**12, 1, 1, 1), np.uint8, chunks=(1024, 1, 1, 1))


def write_record(body: bytes, length: int | None = None):
    """Write a TFRecord file of one message, whose length it may lie about."""
    length_bytes = struct.pack("<Q", len(body) if length is None else length)
    content = length_bytes + mask_crc(length_bytes) + body + mask_crc(body)
    return lambda root: write_file(root / TFRECORD, content)


def append(path: str, text: str):
    """Append a line to a list."""
    return lambda root: write_file(root / path, (root / path).read_text() + text)


def replace_by(path: str, make):
    """Replace a file by a pipe, a device or a link."""

    def spoil(root: Path) -> None:
        (root / path).unlink()
        make(root / path)

    return spoil


def link_to(target: str):
    return lambda path: path.symlink_to(target)


ENDLESS = b"\x0a" + b"\x80" * 300 + b"\x01"
LABEL_AS_BYTES = encode_record(encode_example({"image": b"", "filename": b"a", "label": b"7"}))
DTD_LIST, PETS = "dtd/labels/train1.txt", "annotations/trainval.txt"
NUMBERED_SCENE = '{"scenes": [{"image_filename": 3, "objects": [{"pixel_coords": [1, 1, 9]}]}]}'
SCENES = "CLEVR_v1.0/scenes/CLEVR_train_scenes.json"
# case: function that spoils the folder of an original, and part of the message
HOSTILE = {
    "smallnorb rows": (gzip_matrix("dat", 0x1E3D4C55, 2_000_000, 2, 96, 96), "it has 2,000,000 images, but at most"),
    "smallnorb dimensions": (gzip_matrix("dat", 0x1E3D4C55, *[2] * 200_000), "it says that it has 200,000 dimensions"),
    "smallnorb negative": (gzip_matrix("dat", 0x1E3D4C55, -1, 2, 96, 96), "is not as published: ValueError"),
    "dsprites classes": (lambda root: write_npz(root, "latents_classes.npy", (10**9, 6), "<i8", 2**20),
                         "it has 1,000,000,000 images, but at most 1,048,576 are published"),
    "dsprites row": (lambda root: write_npz(root, "latents_classes.npy", (2, 10**10), "<i8", 2**20), "not [N, 6]"),
    "dsprites more": (lambda root: write_npz(root, "imgs.npy", (10**9, 64, 64), "|u1", 2**20),
                      "it has 1,000,000,000 images, but the factors of 3,200"),
    "dsprites fewer": (lambda root: write_npz(root, "imgs.npy", (3200, 64, 64), "|u1", 2**20), "are cut short by"),
    "svhn_cropped bomb": (write_big_mat, "its arrays take more than 8 MB"),
    "patch_camelyon link": (write_link("link"), "x is a link"),
    "patch_camelyon virtual": (write_link("virtual"), "its values are in other files"),
    "patch_camelyon external": (write_link("external"), "its values are in other files"),
    "patch_camelyon chunks": (write_link("chunks"), "it is stored in chunks of [10000, 96, 96, 3]"),
    "patch_camelyon labels": (write_many_labels, "it has 1,000,000,000,000 images, but at most"),
    "dmlab length": (write_record(b"", 2**62), "it ends within the record at byte 0"),
    "dmlab integer": (write_record(encode_message() + ENDLESS), "an integer has more than 64 bits"),
    "dmlab label": (lambda root: write_file(root / TFRECORD, LABEL_AS_BYTES), "or label is not an integer"),
    "dtd outside": (append(DTD_LIST, "banded/../../../etc/passwd\n"), "called 'banded/../../../etc/passwd', which is"),
    "dtd absolute": (lambda root: write_file(root / DTD_LIST, "banded//etc/passwd\nbanded/../x\n"), "banded/../x"),
    "oxford_iiit_pet outside": (append(PETS, "../../a_1 37 1 1\n"), "is called '../../a_1.jpg', which is not in it"),
    "oxford_iiit_pet escape": (append(PETS, "\x1b[31mred_1 37 1 1\n"), r"the first \x1b[31mred_1.jpg"),
    "clevr number": (lambda root: write_file(root / SCENES, NUMBERED_SCENE),
                     "an image of its list is called '3'"),
    "clevr nested": (lambda root: write_file(root / SCENES, "[" * 10**6), "ValueError: it is nested too deeply"),
    "dtd pipe": (replace_by(DTD_LIST, os.mkfifo), "it is a pipe, a device, or a link that leads nowhere"),
    "dtd device": (replace_by(DTD_LIST, link_to("/dev/zero")), "it is a pipe, a device, or a link that leads nowhere"),
    "dtd image": (replace_by("dtd/images/banded/banded_0000.jpg", link_to("/dev/zero")), "it is a pipe or a device"),
    "cifar100 sparse": (lambda root: os.truncate(root / "cifar-100-binary/train.bin", 3074 * 10**9),
                        "it has 1,000,000,000 images, but at most 1,048,576 are published"),
    "kitti one video": (lambda root: write_file(root / "mapping/train_rand.txt", "1,1,1"), "it names 1 videos, fewer"),
    "kitti list": (replace_by("mapping/train_rand.txt", link_to("/dev/full")), "it is a pipe, a device, or a link"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_original_is_one_sentence_without_much_memory_or_other_files(case, tmp_path, monkeypatch):
    monkeypatch.setattr(mat_file, "MAX_BYTES", 8_000_000)
    name, (spoil, part) = case.split()[0], HOSTILE[case]
    if name == "patch_camelyon":
        pytest.importorskip("h5py")
    originals.MAKERS[name](tmp_path)
    spoil(tmp_path)
    assert part in read_error(name, tmp_path)
