"""Headers of tar files, valid and damaged."""

import io
import tarfile

import numpy as np
import pytest

from helpers.tars import write_tar
from vitrun.data.sources.shards import tar


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_are_read_like_the_standard_library_reads_them(layout, tmp_path):
    names = ["a.jpg", "deep/" * 12 + "b.cls", "äöü.png"]
    names += ["x" * 180 + ".jpg", "d" * 90 + "/" + "y" * 170] * (layout != tarfile.USTAR_FORMAT)
    path = write_tar(tmp_path / "a.tar", [(name, b"x" * n * 300) for n, name in enumerate(names)], layout)
    with tarfile.open(path, "a", format=layout) as archive:
        archive.add(tmp_path, "folder", recursive=False)
    with tarfile.open(path) as archive, open(path, "rb") as file:
        expected = [(m.name, m.offset_data, m.size) for m in archive if m.isreg()]
        assert list(tar.read_members(file, path.stat().st_size)) == expected and len(expected) == len(names)


def test_a_damaged_header_never_causes_an_endless_loop(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("x" * 120 + ".jpg", b"x" * 700), ("b.cls", b"1")], tarfile.PAX_FORMAT)
    content, generator = path.read_bytes(), np.random.default_rng(0)
    for record in (b"0 path=a\n", b"12 size=-99\n", b"-3 size=9\n"):
        for blocks in (content, content[:512] + record.ljust(512, b"\0") + content[1024:]):
            changed = bytearray(blocks)
            for at in generator.integers(0, len(changed), 20 * (blocks is content)):
                changed[at] ^= 0xFF
            try:
                assert len(list(tar.read_members(io.BytesIO(bytes(changed)), len(changed)))) <= 3
            except ValueError as error:
                assert str(error)
