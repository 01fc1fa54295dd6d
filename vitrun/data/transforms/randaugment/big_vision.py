"""The sixteen operations of big_vision's RandAugment (pp/autoaugment.py, forked from TensorFlow's EfficientNet).

None of them is the identity; pixels from outside of the image are grey, 128. Two known faults are reproduced, because
every published model that was trained with this code has them: ``contrast`` blends with a grey of R * R / 256 (196 at
224 pixels) and not with the image's mean (issue 109 there), and ``solarize`` takes its threshold modulo 256, so that
magnitude 10 inverts the whole image, and below that a larger magnitude inverts less (issue 110).

An operation takes pixels [3, R, R], a magnitude and three random numbers in [0, 1): its sign, and the row and column of
its place. Distances in pixels are those of the code for any R.
"""

from math import cos, pi, sin

import numpy as np

Coefficients = tuple[float, float, float]
FULL_MAGNITUDE = 10.0  # the magnitude at which an operation has its full strength
MAX_SHIFT = 100  # pixels by which an image is shifted at that magnitude
GREY = 128
LUMA = np.array([0.2989, 0.587, 0.114], np.float32)[:, None, None]  # of red, green and blue (tf.image.rgb_to_grayscale)
VALUES = np.arange(256)


def autocontrast(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Stretch each channel to 0 to 255."""
    out = np.empty_like(image)
    for channel, place in zip(image, out):
        low, high = np.float32(channel.min()), np.float32(channel.max())
        scale = np.float32(255) / (high - low) if high > low else np.float32(1)
        table = VALUES.astype(np.float32) * scale - (low * scale if high > low else 0)
        np.take(table.clip(0, 255).astype(np.uint8), channel, out=place)
    return out


def equalize(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Equalize the histogram of each channel, as PIL does."""
    out = image.copy()
    for channel, place in zip(image, out):
        counts = np.bincount(channel.ravel(), minlength=256)
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        if step:
            table = np.concatenate([[0], (counts.cumsum()[:-1] + step // 2) // step]).clip(0, 255)
            np.take(table.astype(np.uint8), channel, out=place)
    return out


def invert(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Return 255 minus the pixels."""
    return 255 - image


def posterize(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Keep the upper 4 bits at magnitude 10, all 8 at 20, and at least one: TensorFlow shifts by at most 7.

    It shifts by 7 from magnitude 23 on too, where the shift is negative and becomes 255 as an unsigned number.
    """
    shift = min((8 - int(magnitude / FULL_MAGNITUDE * 4)) % 256, 7)
    return image >> shift << shift


def solarize(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Invert the pixels from a threshold on."""
    return np.where(image < int(magnitude / FULL_MAGNITUDE * 256) % 256, image, 255 - image)


def solarize_add(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Brighten pixels below 128 by up to 110 (at magnitude 10)."""
    table = np.where(VALUES < 128, VALUES + int(magnitude / FULL_MAGNITUDE * 110), VALUES).clip(0, 255)
    return np.take(table.astype(np.uint8), image)


def color(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Blend with the grey image."""
    light = (image / np.float32(255) * LUMA).sum(0, dtype=np.float32, keepdims=True)  # [1, R, R]
    return blend(np.trunc(light * np.float32(255.5)), image, magnitude)


def contrast(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Blend with one grey, which depends on the number of pixels alone."""
    return blend(np.float32(min(image[0].size // 256, 255)), image, magnitude)


def brightness(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Blend with black."""
    return blend(np.float32(0), image, magnitude)


def sharpness(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Blend with the smoothed image (weight 5 for a pixel, 1 for its eight neighbours); the border is unchanged."""
    wide = image.astype(np.float32)
    lines = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    sums = lines[:, :, :-2] + lines[:, :, 1:-1] + lines[:, :, 2:] + 4 * wide[:, 1:-1, 1:-1]
    smooth = wide.copy()
    smooth[:, 1:-1, 1:-1] = np.trunc(sums / np.float32(13))
    return blend(smooth, image, magnitude)


def blend(base: np.ndarray | np.floating, image: np.ndarray, magnitude: float) -> np.ndarray:
    """Interpolate from ``base`` to the image; extrapolate beyond the image if the factor is over 1 (magnitude 5)."""
    factor = np.float32(magnitude / FULL_MAGNITUDE * 1.8 + 0.1)
    return (base + factor * (image - base)).clip(0, 255).astype(np.uint8)


def rotate(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Rotate about the centre, by 30 degrees at magnitude 10."""
    angle = apply_sign(magnitude / FULL_MAGNITUDE * 30 * pi / 180, sign)
    middle, turn, rise = (image.shape[2] - 1) / 2, cos(angle), sin(angle)
    return transform_affine(
        image, (turn, -rise, middle - (turn - rise) * middle), (rise, turn, middle - (rise + turn) * middle)
    )


def shear_x(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Shift each row by 0.3 times its number at magnitude 10."""
    return transform_affine(image, (1, apply_sign(magnitude / FULL_MAGNITUDE * 0.3, sign), 0), (0, 1, 0))


def shear_y(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Shift each column by 0.3 times its number at magnitude 10."""
    return transform_affine(image, (1, 0, 0), (apply_sign(magnitude / FULL_MAGNITUDE * 0.3, sign), 1, 0))


def translate_x(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Shift horizontally, by 100 pixels at magnitude 10."""
    return transform_affine(image, (1, 0, apply_sign(magnitude / FULL_MAGNITUDE * MAX_SHIFT, sign)), (0, 1, 0))


def translate_y(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Shift vertically, by 100 pixels at magnitude 10."""
    return transform_affine(image, (1, 0, 0), (0, 1, apply_sign(magnitude / FULL_MAGNITUDE * MAX_SHIFT, sign)))


def apply_sign(size: float, sign: float) -> float:
    """Return ``size``, negative with probability 1/2."""
    return size if sign >= 0.5 else -size


def transform_affine(image: np.ndarray, across: Coefficients, down: Coefficients) -> np.ndarray:
    """Return at (x, y) the pixel nearest to (ax + by + c, dx + ey + f), or grey if that is outside.

    ``across`` is (a, b, c), and ``down`` (d, e, f).
    """
    side = image.shape[2]
    x, y = np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32)[:, None]
    places = (np.float32(k) * x + np.float32(m) * y + np.float32(n) for k, m, n in (across, down))
    columns, rows = (np.trunc(v + np.copysign(np.float32(0.5), v)).astype(np.int64) for v in places)
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    indices = rows.clip(0, side - 1) * side + columns.clip(0, side - 1)
    return np.where(inside, np.take(image.reshape(3, -1), indices, axis=1), np.uint8(GREY))


def cutout(image: np.ndarray, magnitude: float, sign: float, row: float, column: float) -> np.ndarray:
    """Cover a random square with grey, 80 pixels wide at magnitude 10, clipped at the border."""
    side, pad = image.shape[2], int(magnitude / FULL_MAGNITUDE * 40)
    top, left = (int(place * side) for place in (row, column))
    out = image.copy()
    out[:, max(top - pad, 0) : top + pad, max(left - pad, 0) : left + pad] = GREY
    return out


OPERATIONS = (
    autocontrast, equalize, invert, rotate, posterize, solarize, color, contrast, brightness, sharpness, shear_x,
    shear_y, translate_x, translate_y, cutout, solarize_add,
)  # fmt: skip
SHIFTS = (translate_x, translate_y)
