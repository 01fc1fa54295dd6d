"""Image files, valid and broken, and a split that reads them."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from vitrun import data

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)


def encode_image(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """Encode an image in a format of Pillow."""
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def encode_png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Encode a PNG chunk by chunk, for variants that Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


JPEG = encode_image(PIXELS, "JPEG")
PNG = encode_image(PIXELS, "PNG")
# kind: the file and parts of the message
BAD_FILES = {
    "cut short, JPEG": (JPEG[:-900], ["truncated"]),
    "cut short in the header, JPEG": (JPEG[:100], [r"(100 bytes, starting with '\xff\xd8\xff"]),
    "cut short, PNG": (PNG[: len(PNG) // 2], ["truncated"]),
    "cut short, GIF": (encode_image(PIXELS, "GIF")[:900], ["truncated"]),
    "empty": (b"", ["(0 bytes", "the file is empty"]),
    "a web page": (b"<html><body>404 Not Found", ["starting with '<html>", "it is a web page"]),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
        ["it is a pointer of Git LFS", "git lfs pull"],
    ),
    "text": ("größer".encode(), ["unknown image format"]),
    "no magic": (b"\0\0" + JPEG[2:], ["unknown image format"]),
    "the magic alone": (b"\xff\xd8\xff" + bytes(50), ["unknown image format"]),
    "no pixels": (encode_png(0, 7, 8, 2, b""), ["is not a readable image"]),
    "broken PNG data": (PNG[:60] + bytes(500) + PNG[560:], ["is not a readable image"]),
    "a bomb": (encode_png(60000, 60000, 1, 0, b""), ["it has more than", "pixels", "make it smaller"]),
    "PostScript, which is a program": (encode_image(PIXELS, "EPS"), ["unknown image format", "JPEG, PNG"]),
    "floats": (encode_image(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), ["its mode F has no defined white"]),
}


def make_split(files: list[bytes], directory: str = "train") -> data.Split:
    """Return a split of these files, with three classes in turn."""
    keys = [f"{directory}/{number}.jpg" for number in range(len(files))]
    return data.Split(keys, np.arange(len(files)) % 3, ("a", "b", "c"), read_encoded=files.__getitem__)
