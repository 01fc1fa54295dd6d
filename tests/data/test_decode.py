"""Unusual image formats decode to the right pixels."""

import base64
import hashlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.image_files import JPEG, PIXELS, PNG, encode_image, encode_png
from vitrun.config.resolve import resolve_recipe
from vitrun.data import open_split
from vitrun.data.decode import decode_image

SMOOTH = np.stack(np.broadcast_arrays(np.arange(51) * 5, np.arange(37)[:, None] * 6, 90), 2).astype(np.uint8)
DEEP = np.arange(37 * 51, dtype=np.uint16).reshape(37, 51) * 34  # 16-bit grey, up to 64124


def decode_with_pillow(file: bytes) -> np.ndarray:
    return np.array(Image.open(BytesIO(file)).convert("RGB"))


def repeat_grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[:, :, None], 3, 2)


def add_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, pixels[:, :, 0]])


def encode_rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right in programs that apply it
    return encode_image(SMOOTH, "JPEG", exif=exif)


def encode_damaged() -> bytes:
    """Return a JPEG with a hole in its compressed data, which libjpeg fills with a warning."""
    file = bytearray(encode_image(PIXELS, "JPEG"))
    file[-400:-300] = b"\xf7" * 100
    return bytes(file)


INKS = Image.fromarray(SMOOTH).quantize(16)
RGB_16 = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.stack([DEEP, DEEP.T.reshape(37, 51), DEEP], 2))
CMYK = encode_image(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG")
# format: the file and the expected pixels
ODD = {
    "a JPEG": (JPEG, decode_with_pillow(JPEG)),
    "a JPEG of full chroma": (
        file := encode_image(PIXELS, "JPEG", quality=95, subsampling=0),
        decode_with_pillow(file),
    ),
    "a progressive JPEG": (file := encode_image(PIXELS, "JPEG", progressive=True), decode_with_pillow(file)),
    "a grey JPEG": (file := encode_image(PIXELS[:, :, 0], "JPEG"), decode_with_pillow(file)),
    "a CMYK JPEG": (CMYK, decode_with_pillow(CMYK)),
    "a JPEG that EXIF turns": (encode_rotated(), decode_with_pillow(encode_rotated())),
    "a JPEG with bytes after its end": (JPEG + b"more", decode_with_pillow(JPEG)),
    "a JPEG that is damaged inside": (encode_damaged(), decode_with_pillow(encode_damaged())),
    "a PNG": (PNG, PIXELS),
    "a PNG with alpha": (encode_image(add_alpha(PIXELS), "PNG"), PIXELS),
    "a grey PNG": (encode_image(PIXELS[:, :, 0], "PNG"), repeat_grey(PIXELS[:, :, 0])),
    "a grey PNG with alpha": (
        encode_image(Image.fromarray(PIXELS[:, :, :2], "LA"), "PNG"),
        repeat_grey(PIXELS[:, :, 0]),
    ),
    "a PNG of one bit": (
        encode_image(Image.fromarray(PIXELS[:, :, 0] > 127), "PNG"),
        repeat_grey((PIXELS[:, :, 0] > 127) * 255),
    ),
    "a palette": (encode_image(INKS, "PNG"), np.array(INKS.convert("RGB"))),
    "a palette with alpha": (
        encode_image(INKS, "PNG", transparency=bytes(range(0, 256, 16))),
        np.array(INKS.convert("RGB")),
    ),
    "grey of 16 bits": (encode_image(DEEP, "PNG"), repeat_grey(DEEP // 256)),
    "RGB of 16 bits": (encode_png(51, 37, 16, 2, RGB_16), np.stack([DEEP, DEEP.T.reshape(37, 51), DEEP], 2) // 256),
    "an animation": (
        encode_image(INKS, "GIF", save_all=True, append_images=[Image.new("P", (51, 37))]),
        np.array(INKS.convert("RGB")),
    ),
}


def test_pixels_need_no_decoding():
    assert np.array_equal(decode_image(PIXELS), PIXELS.transpose(2, 0, 1))
    assert np.array_equal(decode_image(PIXELS[:, :, 0]), repeat_grey(PIXELS[:, :, 0]).transpose(2, 0, 1))


@pytest.mark.parametrize("what", ODD)
def test_unusual_image_formats_are_decoded_to_the_expected_pixels(what):
    file, expected = ODD[what]
    decoded = decode_image(file)
    assert decoded.dtype == np.uint8 and np.array_equal(decoded, expected.transpose(2, 0, 1))


SMALL_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggL"
    "DAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAAR"
    "CAAQABADAREAAhEBAxEB/8QAFwAAAwEAAAAAAAAAAAAAAAAABAYHCP/EACgQAAAEBQEIAwAAAAAAAAAAAAECBAUAAwcIEQkGEhMUFRYicSEx"
    "kf/EABcBAQEBAQAAAAAAAAAAAAAAAAcGAQj/xAAmEQABAwMEAgEFAAAAAAAAAAABAgMEAAURBgcIIRJBExQiQlFh/9oADAMBAAIRAxEAPwBk"
    "ul1PGqqLf0nZJu5sBASn5cQNu59RUQ+LqNw7uxdJr4a+nIV93Wcd+6za3fa83+cFmCpCUHJ6qYUA1SWm0EyzuFsDDgImGXMEA+/cXm/vHiw8"
    "gbbEt7U9CTFSE5yPXVOe5W4UTcJhlLKsKbGD/KzzcbTFZpLz06LaFaZ9M6H4ZRU+W7+wPaN5Fyt6obrMMfBgfj1RroDWlksVllx0xU+TiSAc"
    "DIyKNo3ZLP1RknXkDwdp4XliSOMZ+YOpV01HoSc4sylK8z+zXK0fU83Sd8kvOKKg4okA+smv/9k="
)
FAST_PIXELS = "614de1e2eb97c7fa"  # SHA-256 of TensorFlow's tf.image.decode_jpeg(SMALL_JPEG),


def test_fast_decoding_of_a_jpeg_gives_the_pixels_of_tensorflow(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "1.jpg").write_bytes(SMALL_JPEG)
    overrides = ["init=random:vit_nano8", "data=folder", f"data.path={tmp_path}", "data.test=train"]
    hashes = []
    for options in ([], ["data.jpeg=fast"]):
        split = open_split(resolve_recipe("eval", [*overrides, *options]).data, "test")
        hashes.append(hashlib.sha256(split.pixels[0].permute(1, 2, 0).contiguous().numpy().tobytes()).hexdigest()[:16])
    assert hashes[1] == FAST_PIXELS != hashes[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "progressive CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_pillow_turns_them_by_exif_or_not_at_all(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(PIXELS).convert("CMYK" if "CMYK" in kind else "RGB")
    file = encode_image(image, kind if kind.isupper() else "JPEG", exif=exif)
    with Image.open(BytesIO(file)) as opened:
        expected = np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.array_equal(decode_image(file, exif=True).transpose(1, 2, 0), expected)
    assert decode_image(file).shape == (3, 37, 51) or kind == "TIFF"


def test_damaged_exif_does_not_spoil_an_image():
    file = encode_image(PIXELS, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\x12")
    assert np.array_equal(decode_image(file, exif=True), decode_image(file))
