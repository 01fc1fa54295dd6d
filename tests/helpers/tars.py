"""Web shards: write them in the usual layouts, and open them."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from vitrun import data
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError


def make_coloured_image(number: int, kind: str = "png", size: int = 16) -> bytes:
    """Return the file of an image of one colour, given by its number."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), (number * 7 % 256, number % 256, 80)).save(file, kind)
    return file.getvalue()


def write_tar(path: Path, files: list[tuple[str, bytes]], layout: int = tarfile.GNU_FORMAT) -> Path:
    """Write a tar of these files; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=layout) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make_sample(number: int, labels: list[int] | None = None) -> list[tuple[str, bytes]]:
    """Return the files of one sample: its class is its number modulo 5, or a list in its json."""
    if labels is None:
        return [(f"{number:04d}.png", make_coloured_image(number)), (f"{number:04d}.cls", str(number % 5).encode())]
    return [
        (f"{number:04d}.png", make_coloured_image(number)),
        (f"{number:04d}.json", json.dumps({"labels": labels}).encode()),
    ]


def open_shards(folder: Path, part: str, *overrides: str) -> data.Split:
    """Open a part of the shards in a folder."""
    overrides = ("data=shards", f"data.path={folder}", "data.classes=5", *overrides)
    return data.open_split(resolve.resolve_recipe("pretrain", list(overrides)).data, part)


def expect_data_error(folder: Path, *overrides: str) -> str:
    """Return the message with which reading the training shards fails; assert that its exit code is that of data."""
    with pytest.raises(UserError) as error:
        open_shards(folder, "train", *overrides).decode(0)
    assert error.value.status == ExitCode.DATA
    return str(error.value)
