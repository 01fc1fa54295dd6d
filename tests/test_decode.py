"""Odd images become the right pixels, bad ones the right sentence; and what training and evaluation do about these."""

import json
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrun import data, run, start
from vitrun.data.decode import decode
from vitrun.data.splits import BadImage, settled
from vitrun.mistakes import Exit, Mistake
from vitrun.views import CropView, WholeView

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(51) * 5, np.arange(37)[:, None] * 6, 90), 2).astype(np.uint8)
DEEP = np.arange(37 * 51, dtype=np.uint16).reshape(37, 51) * 34  # 16-bit grey, up to 64124


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG chunk by chunk, for what Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pillow(file: bytes) -> np.ndarray:
    return np.array(Image.open(BytesIO(file)).convert("RGB"))


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[:, :, None], 3, 2)


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, pixels[:, :, 0]])


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn to the right by what heeds it
    return encoded(SMOOTH, "JPEG", exif=exif)


def damaged_inside() -> bytes:
    """A JPEG whose compressed data has a hole, which libjpeg warns of and fills."""
    file = bytearray(encoded(PIXELS, "JPEG"))
    file[-400:-300] = b"\xf7" * 100
    return bytes(file)


INKS = Image.fromarray(SMOOTH).quantize(16)
JPEG = encoded(PIXELS, "JPEG")
PNG = encoded(PIXELS, "PNG")
RGB_16 = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.stack([DEEP, DEEP.T.reshape(37, 51), DEEP], 2))
CMYK = encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG")

# what, the file, the pixels that it should give
ODD = {
    "a JPEG": (JPEG, pillow(JPEG)),
    "a JPEG of full chroma": (file := encoded(PIXELS, "JPEG", quality=95, subsampling=0), pillow(file)),
    "a progressive JPEG": (file := encoded(PIXELS, "JPEG", progressive=True), pillow(file)),
    "a grey JPEG": (file := encoded(PIXELS[:, :, 0], "JPEG"), pillow(file)),
    "a CMYK JPEG": (CMYK, pillow(CMYK)),
    "a JPEG that EXIF turns": (turned(), pillow(turned())),
    "a JPEG with bytes after its end": (JPEG + b"more", pillow(JPEG)),
    "a JPEG that is damaged inside": (damaged_inside(), pillow(damaged_inside())),
    "a PNG": (PNG, PIXELS),
    "a PNG with alpha": (encoded(with_alpha(PIXELS), "PNG"), PIXELS),
    "a grey PNG": (encoded(PIXELS[:, :, 0], "PNG"), grey(PIXELS[:, :, 0])),
    "a grey PNG with alpha": (encoded(Image.fromarray(PIXELS[:, :, :2], "LA"), "PNG"), grey(PIXELS[:, :, 0])),
    "a PNG of one bit": (encoded(Image.fromarray(PIXELS[:, :, 0] > 127), "PNG"), grey((PIXELS[:, :, 0] > 127) * 255)),
    "a palette": (encoded(INKS, "PNG"), np.array(INKS.convert("RGB"))),
    "a palette with alpha": (
        encoded(INKS, "PNG", transparency=bytes(range(0, 256, 16))),
        np.array(INKS.convert("RGB")),
    ),
    "grey of 16 bits": (encoded(DEEP, "PNG"), grey(DEEP // 256)),
    "RGB of 16 bits": (png(51, 37, 16, 2, RGB_16), np.stack([DEEP, DEEP.T.reshape(37, 51), DEEP], 2) // 256),
    "an animation": (
        encoded(INKS, "GIF", save_all=True, append_images=[Image.new("P", (51, 37))]),
        np.array(INKS.convert("RGB")),
    ),
}


def test_pixels_need_no_decoding():
    assert np.array_equal(decode(PIXELS), PIXELS.transpose(2, 0, 1))
    assert np.array_equal(decode(PIXELS[:, :, 0]), grey(PIXELS[:, :, 0]).transpose(2, 0, 1))


@pytest.mark.parametrize("what", ODD)
def test_an_odd_image_becomes_the_right_pixels(what):
    file, expected = ODD[what]
    found = decode(file)
    assert found.dtype == np.uint8 and np.array_equal(found, expected.transpose(2, 0, 1))


# what, the file, parts of the sentence
BAD = {
    "cut short, JPEG": (JPEG[:-900], ["truncated"]),
    "cut short in the header, JPEG": (JPEG[:100], [r"(100 bytes, beginning with '\xff\xd8\xff"]),
    "cut short, PNG": (PNG[: len(PNG) // 2], ["truncated"]),
    "cut short, GIF": (encoded(PIXELS, "GIF")[:900], ["truncated"]),
    "empty": (b"", ["(0 bytes", "the file is empty"]),
    "a web page": (b"<html><body>404 Not Found", ["beginning with '<html>", "no image format"]),
    "text": ("größer".encode(), ["no image format"]),
    "no magic": (b"\0\0" + JPEG[2:], ["no image format"]),
    "the magic alone": (b"\xff\xd8\xff" + bytes(50), ["no image format"]),
    "no pixels": (png(0, 7, 8, 2, b""), ["is no readable image"]),
    "broken PNG data": (PNG[:60] + bytes(500) + PNG[560:], ["is no readable image"]),
    "a bomb": (png(60000, 60000, 1, 0, b""), ["3600000000 pixels", "bomb"]),
    "PostScript, which is a program": (encoded(PIXELS, "EPS"), ["no image format", "JPEG, PNG"]),
    "floats": (encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), ["nothing says which of its F values"]),
}


def split(files: list[bytes], directory: str = "train") -> data.Split:
    keys = [f"{directory}/{number}.jpg" for number in range(len(files))]
    return data.Split(keys, np.arange(len(files)) % 3, ("a", "b", "c"), encoded=files.__getitem__)


@pytest.mark.parametrize("what", BAD)
def test_a_bad_image_is_named_with_the_reason_and_the_way_out(what):
    file, parts = BAD[what]
    with pytest.raises(BadImage) as error:
        split([JPEG, file]).decode(1)
    assert error.value.status == Exit.DATA
    for part in ("train/1.jpg is no readable image", *parts, "Replace or remove it."):
        assert part in str(error.value)


def test_a_file_that_is_gone_is_no_bad_image_but_stops_at_once(tmp_path):
    gone = data.Split(["cat/1.jpg"], np.zeros(1, int), ("cat",), encoded=lambda _: (tmp_path / "1.jpg").read_bytes())
    with pytest.raises(Mistake, match=r"cat/1.jpg cannot be read: .*No such file") as error:
        gone.decode(0)
    assert error.value.status == Exit.DATA and not isinstance(error.value, BadImage)


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[:32, :32]], ids=["by several threads", "tiny"])
def test_images_of_one_size_are_kept_in_memory_only_where_all_are_sound(pixels):
    files = [encoded(pixels, kind) for kind in ("PNG", "JPEG")] * 300
    found = settled(split(files)).pixels
    assert np.array_equal(found[598], pixels.transpose(2, 0, 1))
    assert all(np.array_equal(found[row], decode(files[row])) for row in range(0, 600, 7))
    files[533] = files[0][:50]
    assert settled(split(files)).pixels is None


VIEW = CropView(8, "inception", (0.3, 1.0), True, 0)
SPOILT = (3, 4, 11)  # of twelve images: two in a row, and the last


def spoilt() -> data.Split:
    return split([JPEG[:-900] if n in SPOILT else encoded(np.roll(PIXELS, n, 0), "PNG") for n in range(12)])


def batches(start: int = 0, told: list | None = None) -> list[data.Batch]:
    budget = data.Budget(spoilt(), 0.5, lambda *one: told.append(one) if told is not None else None)
    return list(data.training(spoilt(), VIEW, 4, 7, start, 9, budget))


def test_in_training_the_next_image_stands_in_with_its_own_label_and_is_told_once():
    told = []
    found = batches(0, told)
    for batch in found:
        assert np.array_equal(batch.labels, batch.indices % 3)
    seen = np.concatenate([batch.indices for batch in found])  # three epochs
    assert np.bincount(seen, minlength=12).tolist() == [6, 3, 3, 0, 0, 9, 3, 3, 3, 3, 3, 0]
    assert sorted(key for key, _ in told) == ["train/11.jpg", "train/3.jpg", "train/4.jpg"]
    assert all("truncated" in sentence for _, sentence in told)


def test_a_resumed_run_sees_the_same_stand_ins():
    for whole, later in zip(batches()[5:], batches(5), strict=True):
        assert np.array_equal(whole.indices, later.indices) and whole.images.equal(later.images)


@pytest.mark.parametrize("known", [(), ("train/3.jpg", "train/4.jpg")], ids=["at first", "resumed"])
def test_more_bad_images_than_allowed_end_the_run(known):
    budget = data.Budget(spoilt(), 0.1, lambda *_: None, known)
    with pytest.raises(Mistake, match="of 12 training images cannot be read.* more than bad_images=0.1") as error:
        list(data.training(spoilt(), VIEW, 4, 7, 0, 9, budget))
    assert error.value.status == Exit.DATA


def test_a_test_set_stops_at_a_bad_image_and_never_sees_a_neighbour():
    with pytest.raises(BadImage, match="train/3.jpg"):
        list(data.testing(spoilt(), WholeView(8), 5))
    told = []
    rest = data.readable(spoilt(), told.append)
    assert len(rest) == 9 and not {f"train/{n}.jpg" for n in SPOILT} & set(rest.keys)
    assert len(told) == 3 and rest.pixels is not None and rest.fingerprint != spoilt().fingerprint
    assert np.array_equal(rest.labels, [n % 3 for n in range(12) if n not in SPOILT])
    with pytest.raises(Mistake, match="None of 2 images can be read: train/0.jpg is no readable image"):
        data.readable(split([b"", b"<html>"]), told.append)


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Class folders of PNG images of different sizes, ten to train with and eight to test."""
    for part, number in (("train", 5), ("test", 4)):
        for name in ("cat", "dog"):
            for n in range(number):
                place = tmp_path / "photographs" / part / name / f"{n}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(encoded(np.roll(PIXELS, n, 1)[n:], "PNG"))
    return tmp_path / "photographs"


def test_a_run_counts_and_names_what_it_replaced_and_evaluation_what_it_skipped(carry_out, photographs):
    words = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=10", "steps=3", "warmup=1")
    (photographs / "train" / "cat" / "2.png").write_bytes(b"<html>")
    with pytest.raises(Mistake, match="1 of 10 training images cannot be read.*bad_images=0.001.*cat/2.png"):
        carry_out("pretrain", *words)
    recipe, result = carry_out("pretrain", *words, "bad_images=0.1")
    assert result["bad_images"] == 1 and result["bad_images_replaced"] == "cat/2.png" and result["test_images"] == 8
    folder = recipe.runs / run.name("pretrain", recipe)
    assert folder.name == run.name("pretrain", start.load("pretrain", [*words, f"runs={recipe.runs}"]))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["bad_image"] for line in lines if "bad_image" in line] == ["cat/2.png"]
    assert "replaced in training: cat/2.png is no readable image" in (folder / "log.txt").read_text()

    (photographs / "test" / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(Mistake, match="1 of 8 test images cannot be read: dog/1.png"):  # before a step is done
        carry_out("pretrain", *words, "bad_images=0.1", "seed=1")
    assert len(list(recipe.runs.iterdir())) == 1
    for verb, options in (("eval", ()), ("fewshot", ("shots=1", "seeds=0", *words[1:3]))):
        with pytest.raises(Mistake, match=r"(dog/1|cat/2).png is no readable image") as error:
            carry_out(verb, *options)
        assert error.value.status == Exit.DATA
        recipe, result = carry_out(verb, *options, "bad_images=skip")
        assert (result["images_used"], result["images_expected"]) == (7, 8)
        log = (recipe.runs / run.name(verb, recipe) / "log.txt").read_text()
        assert "skipped: dog/1.png is no readable image (0 bytes" in log
