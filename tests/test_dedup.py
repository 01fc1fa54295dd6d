"""Duplicates between a training and a test set are found, whatever was done to them, and nothing else is."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from conftest import TINY
from PIL import Image

from vitrun import data, origins, run, start
from vitrun.data import duplicates
from vitrun.data.order import Order
from vitrun.mistakes import Exit, Mistake

CPU = torch.device("cpu")
NUMBER = 24  # of drawn scenes


def scenes(number: int, seed: int) -> np.ndarray:
    """Smooth random images, which share as little as photographs of different things: uint8 [N, 96, 96, 3]."""
    rough = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (number, 3, 12, 12)))
    smooth = torch.nn.functional.interpolate(rough, (96, 96), mode="bicubic").clamp(0, 255)
    return smooth.byte().permute(0, 2, 3, 1).numpy().copy()


def encoded(image: np.ndarray, kind: str, quality: int = 75) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=quality)
    return buffer.getvalue()


def decoded(image: np.ndarray, quality: int) -> np.ndarray:
    return np.array(Image.open(BytesIO(encoded(image, "jpeg", quality))))


def smaller(image: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))


# What may be done to a copy: how it is then found.
COPIES = {
    "nothing": (lambda image: image, "exact"),
    "JPEG again": (lambda image: decoded(image, 50), "near"),
    "brighter": (lambda image: (image * 0.8 + 40).astype(np.uint8), "near"),
    "a pixel aside": (lambda image: np.roll(image, 1, axis=1), "near"),
    "smaller": (smaller, "near"),
    "without colour": (lambda image: np.array(Image.fromarray(image).convert("L").convert("RGB")), "near"),
    "mirrored": (lambda image: image[:, ::-1], "mirrored"),
    "upside down": (lambda image: image[::-1], None),
    "a quarter of it": (lambda image: image[:48, :48], None),
}


def folder(root: Path, test: list[np.ndarray], train: list[np.ndarray]) -> Path:
    """Images as PNG in class folders: the even ones of class a, the others of class b."""
    for part, images in (("test", test), ("train", train)):
        for number, image in enumerate(images):
            file = root / part / "ab"[number % 2] / f"{number:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(np.ascontiguousarray(image), "png"))
    return root


def pairs(recipe) -> list[dict]:
    return pyarrow.parquet.read_table(place(recipe) / "duplicates.parquet").to_pylist()


def place(recipe, verb: str = "dedup") -> Path:
    return recipe.runs / run.name(verb, recipe)


@pytest.fixture
def doubled(tmp_path) -> Path:
    """A folder whose first test images are copies of the training images of the same number, each made otherwise."""
    train = scenes(NUMBER, 0)
    copies = [change(train[number]) for number, (change, _) in enumerate(COPIES.values())]
    return folder(tmp_path / "doubled", [*copies, *scenes(6, 1)], list(train))


def test_each_kind_of_copy_is_found_as_what_it_is_and_nothing_else(carry_out, doubled):
    recipe, result = carry_out("dedup", "data=folder", f"data.path={doubled}")
    found = {}
    for pair in pairs(recipe):
        assert pair["test"] == pair["train"], "copies have the number of their original"
        found.setdefault(int(pair["test"][2:5]), []).append(pair["how"])
    wanted = {
        number: [*["exact"] * (how == "exact"), "mirrored" if how == "mirrored" else "near"]
        for number, (_, how) in enumerate(COPIES.values())
        if how
    }
    assert found == wanted
    count = len(wanted)
    assert result == {
        "exact": 1, "near": count, "duplicates": count, "test_images": len(COPIES) + 6, "excluded": count,
        "train_images": NUMBER,
    }  # fmt: skip
    excluded = (place(recipe) / "exclude.txt").read_text().splitlines()
    assert sorted(excluded) == sorted({pair["train"] for pair in pairs(recipe)})


def test_an_image_that_cannot_be_read_is_named_and_like_no_other(carry_out, doubled):
    (doubled / "train/a/000.png").write_bytes(b"<html>404</html>")
    (doubled / "train/a/002.png").write_bytes(b"<html>500</html>")
    recipe, result = carry_out("dedup", "data=folder", f"data.path={doubled}")
    assert not {"a/000.png", "a/002.png"} & {pair["train"] for pair in pairs(recipe)} and result["duplicates"]
    assert "compared by its bytes alone: a/000.png is no readable image" in (place(recipe) / "log.txt").read_text()


def test_a_mirrored_copy_counts_only_where_training_mirrors(carry_out, doubled):
    recipe, _ = carry_out("dedup", "data=folder", f"data.path={doubled}", "data.flip=false")
    assert {pair["how"] for pair in pairs(recipe)} == {"exact", "near"}


def test_mirroring_an_image_changes_the_signs_that_mirror_names():
    views = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (5, 32, 32)).astype(np.float32))
    straight, mirrored = (duplicates.signs(duplicates.perceptual(v)) for v in (views, views.flip(2)))
    assert torch.equal(straight * duplicates.MIRROR, mirrored)


def test_no_two_of_500_unrelated_images_are_taken_for_copies():
    images = torch.from_numpy(scenes(500, 2)).permute(0, 3, 1, 2)
    keys = [str(n) for n in range(500)]
    hashes = duplicates.codes(data.Split(keys, np.zeros(500), ("x",), pixels=images), lambda _: None, pytest.fail)[
        "near"
    ]
    for mirrored in (False, True):
        found = duplicates.hashed(hashes[:250], hashes[250:], 24, mirrored, CPU)
        assert len(found.tests) == 0


def test_hashes_are_as_far_apart_as_the_bits_in_which_they_differ(monkeypatch):
    monkeypatch.setattr(duplicates, "ROWS", 7)  # several blocks of both
    generator = np.random.default_rng(0)
    tests, trains = (generator.integers(0, 256, (number, 16), dtype=np.uint8) for number in (20, 30))
    trains[::3] = tests[:10] ^ (generator.integers(0, 256, (10, 16)) & generator.integers(0, 30, (10, 1))).astype("u1")
    bits = np.bitwise_count(tests[:, None] ^ trains[None]).sum(-1)
    for distance in (0, 12, 30, 64):
        found = duplicates.hashed(torch.from_numpy(tests), torch.from_numpy(trains), distance, False, CPU)
        assert found.distances.tolist() == bits[found.tests, found.trains].tolist()
        assert set(found.tests) == set(np.flatnonzero(bits.min(1) <= distance))
        assert set(found.trains) == set(np.flatnonzero(bits.min(0) <= distance))


def test_equal_images_are_found_however_many_there_are():
    tests, trains = (torch.tensor(codes, dtype=torch.uint8)[:, None] for codes in ([1, 2, 2, 3], [2, 9, 1, 2, 2]))
    found = duplicates.same(tests, trains)
    assert set(found.tests) == {0, 1, 2} and set(found.trains) == {0, 2, 3, 4} and not found.distances.any()
    assert len(duplicates.same(tests[3:], trains).tests) == 0


def test_features_find_what_they_are_given_weights_for(carry_out, doubled):
    words = ("data=folder", f"data.path={doubled}", "init=random:vit_nano8", "res=32", "precision=fp32")
    recipe, result = carry_out("dedup", *words, "similarity=0.999")
    found = {pair["test"]: pair["train"] for pair in pairs(recipe) if pair["how"] == "features"}
    assert result["features"] == len(found) >= 1 and found["a/000.png"] == "a/000.png"
    assert carry_out("dedup", *words, "similarity=0.5")[1]["features"] >= result["features"]


def test_hashes_of_a_training_set_are_computed_once_for_all_test_sets(carry_out, doubled, tmp_path):
    words = ("data=folder", f"data.path={doubled}")
    other = folder(tmp_path / "other", list(scenes(4, 0)), list(scenes(4, 5)))
    carry_out("dedup", *words)
    recipe, result = carry_out("dedup", *words, "against=folder", f"against.path={other}")
    assert (result["exact"], result["duplicates"], result["test_images"]) == (4, 4, 4)
    assert (place(recipe) / "log.txt").read_text().count("hashes of 24 images read from") == 1
    assert len(list((tmp_path / "runs" / "hashes").iterdir())) == 3


def test_a_rehearsal_finds_the_images_and_writes_nothing(carry_out, doubled, tmp_path):
    _, result = carry_out("dedup", "data=folder", f"data.path={doubled}", dry=True)
    assert result == {"test_images": len(COPIES) + 6, "train_images": NUMBER} and not (tmp_path / "runs").exists()


def test_what_a_dedup_run_found_is_left_out_of_pretraining(carry_out, doubled):
    words = ("data=folder", f"data.path={doubled}")
    searched, found = carry_out("dedup", *words)
    training = (*words, "model=vit_nano8", "batch=8", "steps=2", "warmup=0")
    whole, _ = carry_out("pretrain", *training)
    for exclude in (run.name("dedup", searched), str(place(searched) / "exclude.txt")):
        recipe, _ = carry_out("pretrain", *training, f"exclude={exclude}")
        log = (place(recipe, "pretrain") / "log.txt").read_text()
        left = NUMBER - found["excluded"]
        assert f"left out: {found['excluded']} of {NUMBER} training images" in log
        assert f"{left} training and" in log
        abouts = [(place(r, "pretrain") / "about.json").read_text() for r in (whole, recipe)]
        assert len({text.partition('"train_data"')[2][:22] for text in abouts}) == 2, "another fingerprint"


def test_a_list_of_other_images_is_refused(carry_out, doubled, tmp_path):
    searched, _ = carry_out("dedup", "data=folder", f"data.path={doubled}")
    with pytest.raises(Mistake, match="searched other training images") as error:
        carry_out("pretrain", *TINY, f"exclude={run.name('dedup', searched)}")
    assert error.value.status == Exit.DATA
    (tmp_path / "keys.txt").write_text("train-0000001-shape-32\nnone\n")
    with pytest.raises(Mistake, match="1 of the 2 images to leave out are none of the training images, as none"):
        carry_out("pretrain", *TINY, f"exclude={tmp_path / 'keys.txt'}")


def test_images_in_shards_keep_their_order_without_those_left_out():
    split = data.Split(
        [f"{n}" for n in range(10)], np.arange(10), ("x",), encoded=lambda index: bytes([index]),
        shards=Order(np.array([0, 4, 10]), 3), code="x",
    )  # fmt: skip
    left = split.without({"1", "4", "9"})
    assert list(left.keys) == left.keys[0:7] == list("0235678") and left.encoded(2) == bytes([3])
    assert left.order.starts.tolist() == [0, 3, 7] and left.fingerprint != split.without({"1"}).fingerprint
    assert sorted(left.order.indices(0, 0, np.arange(7)).tolist()) == list(range(7))
    with pytest.raises(Mistake, match="nothing to train on"):
        split.without(set(split.keys))


def test_eval_counts_with_and_without_the_duplicates(carry_out, doubled):
    words = ("data=folder", f"data.path={doubled}")
    carry_out("pretrain", *words, "model=vit_nano8", "batch=8", "steps=2", "warmup=0")
    searched, found = carry_out("dedup", *words)
    recipe, result = carry_out("eval", f"dedup={run.name('dedup', searched)}")
    answers = pyarrow.parquet.read_table(place(recipe, "eval") / "preds.parquet").to_pylist()
    dups = {pair["test"] for pair in pairs(searched)}
    right = {answer["id"]: answer["label"] == answer["top5"][0] for answer in answers}
    assert result["dups"] == found["duplicates"] == len(dups)
    assert result["top1"] == pytest.approx(np.mean(list(right.values())))
    assert result["top1_dedup"] == pytest.approx(np.mean([hit for key, hit in right.items() if key not in dups]))
    with pytest.raises(Mistake, match="that run looked for other test images than these"):
        carry_out("eval", "init=random:vit_nano8", "data=digits", "res=32", f"dedup={run.name('dedup', searched)}")


def test_duplicates_are_those_of_the_same_images_bad_ones_among_them_and_of_no_others(carry_out, doubled, tmp_path):
    words = ("data=folder", f"data.path={doubled}")
    carry_out("pretrain", *words, "model=vit_nano8", "batch=8", "steps=1", "warmup=0")
    (doubled / "test" / "a" / "014.png").write_bytes(b"no image")
    searched, found = carry_out("dedup", *words)
    asked = f"dedup={run.name('dedup', searched)}"
    _, result = carry_out("eval", asked, "bad_images=skip")
    assert result["images_used"] == 14 and result["dups"] == found["duplicates"] > 0
    others = folder(tmp_path / "others", list(scenes(15, 7)), list(scenes(4, 8)))
    with pytest.raises(Mistake, match="that run looked for other test images than these"):
        carry_out("eval", asked, f"data.path={others}")


# words, parts of the sentence
WRONG = [
    ("dedup against=shapse", ["No against 'shapse'", "shapes"]),
    ("dedup against=folder", ["against=folder needs to know", "add against.path=FOLDER"]),
    ("dedup against=folder against.path=/nowhere", ["against.path=/nowhere: there is no folder"]),
    ("dedup against.path=/nowhere", ["No option 'against.path'"]),
    ("dedup distance=65", ["distance=65 cannot be"]),
    ("dedup similarity=2", ["similarity=2 cannot be"]),
    ("dedup data=imagenet_real data.path=/", ["data=imagenet_real is for vitrun eval only"]),
    ("dedup against=shapes against.source=files", ["it comes with the choice of against=NAME, here shapes"]),
    ("pretrain exclude=nothing", ["exclude=nothing is no finished dedup run, and no file of keys", "vitrun dedup"]),
    ("eval init=random:vit_nano8 data=digits dedup=nothing", ["dedup=nothing is no finished dedup run. There is none"]),
]


@pytest.mark.parametrize("line, parts", WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_word_is_told_what_was_meant(line, parts, tmp_path):
    verb, *words = line.split()
    with pytest.raises(Mistake) as error:
        start.load(verb, [*words, f"runs={tmp_path}"])
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_what_is_wrong_with_the_test_set_is_said_of_its_own_options(carry_out, doubled):
    with pytest.raises(Mistake, match="against=folder has 3 test images as published.*against.test_images=15"):
        carry_out("dedup", "against=folder", f"against.path={doubled}", "against.test_images=3")


def test_cfg_shows_both_data_sets_and_where_each_came_from(tmp_path):
    words = ["against=digits", "against.test_images=9", "data.train_images=20"]
    shown = origins.show("dedup", words, start.load("dedup", words))
    sources = {line.split("=")[0]: line.rpartition("# ")[2] for line in shown.splitlines()}
    assert sources["against.test_images"] == sources["against"] == "command line"
    assert (sources["against.crop"], sources["data"]) == ("conf/data/digits.yaml", "conf/dedup.yaml")
    shown = origins.show("dedup", [], start.load("dedup", []))
    assert "against=shapes" in shown and "data, whose test part it is" in shown
