"""Decoding of image files, by one rule for all sources.

The first bytes of a file decide its format, not its name. Grey is repeated in all three channels, palettes are looked
up, alpha is dropped and not blended, CMYK and YCCK are converted to RGB as Pillow does, 16 bits are cut to the upper 8,
and an animation is read as its first frame. torchvision's ImageFolder, timm and, except for CMYK,
``tf.io.decode_image(channels=3)`` do the same and ignore the EXIF orientation; Hugging Face ``datasets``, OpenCV (so
Ultralytics) and detectron2 turn images by it, which ``exif`` chooses. Pillow always turns TIFF files. A truncated file
is an error. Damage inside a JPEG that libjpeg conceals is not, because published data sets contain such files
(beagle_116 and chihuahua_121 of Oxford Pets).
"""

import warnings
from collections.abc import Callable
from importlib.metadata import version
from io import BytesIO
from struct import unpack_from

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError, features

OPTIONAL_FORMATS = {"AVIF": "avif", "JPEG2000": "jpg_2000"}  # by the library that not every Pillow has
# Of Pillow's other formats one starts a program (EPS), and none holds photographs.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF"),
    *(name for name, library in OPTIONAL_FORMATS.items() if features.check(library)),
)
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 0  # per image; beyond it Pillow suspects a decompression bomb
TOO_LARGE = f"it has more than {MOST_PIXELS:,} pixels, the most that are read"
warnings.simplefilter("error", Image.DecompressionBombWarning)  # a warning would not name the image
ORIENTATION = 0x0112  # the EXIF tag
# NumPy's equivalents of the EXIF orientations 2 to 8, for pixels [h, w, 3]
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
    7: lambda pixels: pixels.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
}
SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG markers that give the size (ITU-T T.81, table B.1)


def decode_image(data: bytes | memoryview | np.ndarray, fast_jpeg: bool = False, exif: bool = False) -> np.ndarray:
    """Return the pixels, uint8 RGB [3, h, w], of an encoded image or of an array [h, w] or [h, w, 3].

    With ``fast_jpeg`` a JPEG has the pixels of TensorFlow's default decoder. With
    ``exif`` an encoded image is turned as its EXIF orientation says.

    Raise whatever the decoders raise: an exception of one of a dozen types that says what is wrong.
    """
    if isinstance(data, np.ndarray):
        pixels = data.copy() if data.ndim == 3 else np.repeat(data[:, :, None], 3, 2)
    else:
        decoded = decode_jpeg(data, fast_jpeg) if bytes(data[:3]) == b"\xff\xd8\xff" else None
        pixels = decode_with_pillow(data, exif) if decoded is None else decoded
        if exif and decoded is not None and (turn := TURNS.get(read_jpeg_orientation(data))):
            pixels = np.ascontiguousarray(turn(pixels))
    return pixels.transpose(2, 0, 1)


def decode_jpeg(data: bytes | memoryview, fast: bool = False) -> np.ndarray | None:
    """Return an intact RGB or grey JPEG, [h, w, 3], decoded by libjpeg-turbo; None for any other.

    It uses smooth chroma upsampling, and the exact DCT or the ``fast`` one (IFAST), which is ``tf.io.decode_jpeg``'s:
    no pixel of 200 photographs of ImageNet differs from TensorFlow's.

    With the exact one no pixel of 16,332 JPEGs (Caltech-101, CIFAR-10 re-encoded, ImageNet) differs from Pillow's. It
    is twice as fast on photographs and seven times on images of 32 pixels, where Pillow's Python takes longer than
    decoding.
    """
    height, width, channels = read_jpeg_size(data)
    if channels not in (1, 3) or height * width > MOST_PIXELS:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB", fastdct=fast)
    except ValueError:  # at any oddity: Pillow distinguishes the harmless ones from damage
        return None


def read_jpeg_size(data: bytes | memoryview) -> tuple[int, int, int]:
    """Return height, width and channels from a JPEG's header; zeros if it has none."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        if data[place + 1] in SIZE_MARKERS:
            return unpack_from(">HHB", data, place + 5)
        place += 1 if data[place + 1] == 0xFF else 2 + unpack_from(">H", data, place + 2)[0]
    return 0, 0, 0


def read_jpeg_orientation(data: bytes | memoryview) -> int:
    """Return the EXIF orientation from a JPEG's header; 1 if it has none. Pillow reads only JPEGs that have EXIF."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:  # pixels follow
        if data[place + 1] == 0xE1 and bytes(data[place + 4 : place + 8]) == b"Exif":
            with open_image(data) as image:
                return read_orientation(image)
        place += 1 if data[place + 1] == 0xFF else 2 + unpack_from(">H", data, place + 2)[0]
    return 1


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image; 1 if it has none, or EXIF that cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever a damaged EXIF raises; the pixels are intact
        return 1


def open_image(data: bytes | memoryview) -> Image.Image:
    """Return an image of one of ``FORMATS`` with only its header read; raise ValueError if it is none of them."""
    if len(data) == 0:
        raise ValueError("the file is empty")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"unknown image format (supported: {', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"{TOO_LARGE}: make it smaller") from None
    if image.width * image.height == 0:
        raise ValueError(f"its size of {image.width} by {image.height} pixels is not supported")
    return image


def decode_with_pillow(data: bytes | memoryview, exif: bool = False) -> np.ndarray:
    """Return an image of one of ``FORMATS`` as Pillow decodes it, [h, w, 3], turned if ``exif``."""
    with open_image(data) as image:
        if image.mode in ("I", "F"):
            raise ValueError(f"its mode {image.mode} has no defined white")
        orientation = read_orientation(image) if exif else 1
        image.load()
        if image.format == "TIFF":  # Pillow has turned it
            orientation = 1
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode != "RGB":
            image.info.pop("transparency", None)  # otherwise Pillow warns that alpha is dropped, as intended here
            image = image.convert("RGB")
        pixels = np.array(image)
        return np.ascontiguousarray(TURNS[orientation](pixels)) if orientation in TURNS else pixels


def describe_decoders() -> dict[str, str]:
    """Return the libraries that decode images, and the formats that they read."""
    turbo = "libjpeg-turbo" if features.check("libjpeg_turbo") else "libjpeg"
    return {
        "JPEG": f"simplejpeg {version('simplejpeg')}; others by Pillow {version('pillow')} with {turbo}",
        "formats": ", ".join(FORMATS),
        "largest image": f"{MOST_PIXELS:,} pixels",
    }
