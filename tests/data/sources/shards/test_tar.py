"""Headers of tar files, valid and damaged."""

import io
import tarfile

import numpy as np
import pytest

from helpers.tars import expect_data_error, write_tar
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


def make_header(size: int, kind: bytes = b"0", name: bytes = b"a.png") -> bytes:
    """Return the header of a member."""
    number = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    header = name.ljust(124, b"\0") + number + bytes(12) + b" " * 8 + kind
    header = header.ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


@pytest.mark.parametrize("kind", [b"x", b"L"])
def test_a_header_that_announces_gigabytes_is_refused_without_reading_them(kind, tmp_path):
    with open(tmp_path / "a.tar", "w+b") as file:  # most of it a hole
        file.write(make_header(3 * 2**30, kind))
        size = file.seek(512 + 3 * 2**30) + file.write(make_header(0) + bytes(1024))
        with pytest.raises(ValueError, match="a name or a pax header of 3,221,225,472 bytes"):
            list(tar.read_members(file, size))


def test_a_member_of_gigabytes_is_no_image(tmp_path):
    with open(tmp_path / "train.tar", "wb") as file:
        file.write(make_header(5 * 2**30))
        file.seek(512 + 5 * 2**30)
        file.write(make_header(1, name=b"a.cls") + b"1".ljust(512, b"\0") + bytes(1024))
    assert "a.png has 5,369 MB, too many for an image" in expect_data_error(tmp_path, "data.train=train.tar")


def test_a_pax_header_of_many_records_is_read_in_time_that_grows_with_its_length():
    records = tar.parse_pax_records(b"".join(b"%d k%d=\n" % (len(f"{n}") + 6, n) for n in range(10000, 99999)))
    assert len(records) == 89999


def read_names(content: bytes) -> list[str]:
    """Return the names of a tar's files."""
    return [name for name, _, _ in tar.read_members(io.BytesIO(content), len(content))]


def test_archives_one_behind_the_other_are_read_to_the_end(tmp_path):
    parts = [write_tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", b"x" * 700)]).read_bytes() for n in range(3)]
    assert read_names(b"".join(parts)) == ["0.jpg", "1.jpg", "2.jpg"]
    short = [part[: 512 + 1024 + 1024] for part in parts]  # as Go's and Rust's writers end: no record is filled up
    assert read_names(b"".join(short)) == ["0.jpg", "1.jpg", "2.jpg"]
    assert read_names(short[0][:-512]) == ["0.jpg"]


def test_what_lies_behind_an_end_mark_is_refused_unless_it_is_an_archive(tmp_path):
    files = [(f"{n}.jpg", b"x" * 9000) for n in range(6)]
    content, step = write_tar(tmp_path / "a.tar", files).read_bytes(), 512 + 9216
    damaged = {
        "unfinished download": content[: 2 * step] + bytes(4 * step),
        "more than 10,752 zeros": content + bytes(2**20),
        "not a second archive: it is damaged": content[:step] + bytes(512) + content[step + 512 :],
        "end mark at byte 9728, but 38912": content[:step] + bytes(step) + content[2 * step : 6 * step],
        "not a second archive": content + b"<html>",
    }
    for message, blocks in damaged.items():
        with pytest.raises(ValueError, match=message):
            read_names(blocks)
