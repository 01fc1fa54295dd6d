"""The order of images equals that of TensorFlow Datasets, compared with values computed by it."""

import hashlib

import pytest

from vitrun.data.sources.vtab.keys import KNOWN_BUILDERS, PARTS, published_part_keys
from vitrun.data.tfds_order import tfds_order


def eurosat(*names: str) -> list[str]:
    return [f"{name.partition('_')[0]}_{name}.jpg" for name in names]


def resisc(*names: str) -> list[str]:
    return [f"{name.rpartition('_')[0]}_{name}.jpg" for name in names]


# The first keys of train800, val200 and test, and the first 16 hex digits of the SHA-256 of the keys of each part.
# For EuroSAT and Resisc45 the files are assumed to be numbered from 1. scripts/check_vtab_order.py compares complete
# orders with those of TFDS's own hasher.
GOLDEN = {
    "cifar100": (
        ["16399", "1680", "47917", "17307", "27051"], "5b25ee0661c3bc4a",
        ["13431", "9237", "17462", "32685", "9518"], "93377e439662509b",
        ["9933", "5669", "163"], "aa6d3ee41c0a810e",
    ),
    "svhn_cropped": (
        ["16399", "1680", "47917", "17307", "27051"], "901fe4f6d4f65bc8",
        ["21145", "64736", "23870", "1919", "26393"], "36ae944d2e322a4f",
        ["23018", "16932", "19084"], "40b99c89fb133426",
    ),
    "dsprites": (
        ["16399", "634903", "206287", "470425", "352707"], "54130b46ffd22579",
        ["220697", "85843", "84902", "106270", "175044"], "86005e8c04783edc",
        ["493443", "195884", "225768"], "047f98bb94c6f871",
    ),
    "smallnorb": (
        ["16399", "1680", "17307", "1456", "19135"], "438b845e2bd4a468",
        ["23018", "16932", "19084", "9933", "24157"], "d9fca0e85af945f0",
        ["299", "2838", "15595"], "f5e0032ca6dc71ce",
    ),
    "patch_camelyon": (
        [f"train_{n}" for n in (251464, 132287, 133786, 86259, 230288)], "c1122cb7e413b8b3",
        [f"valid_{n}" for n in (3270, 10310, 20603, 11608, 13337)], "b3998b44bc8423a1",
        [f"test_{n}" for n in (11072, 27274, 8313)], "57bf9b06b6104a9f",
    ),
    "clevr": (
        [f"CLEVR_train_{n:06d}.png" for n in (43876, 33421, 62025, 21419, 4851)], "5dc1033102716488",
        [f"CLEVR_train_{n:06d}.png" for n in (35084, 29360, 4525, 24831, 21255)], "9a9150228251ccef",
        [f"CLEVR_val_{n:06d}.png" for n in (11736, 5989, 8130)], "4952b4e50300bca1",
    ),
    "eurosat": (
        eurosat("Forest_687", "Residential_188", "HerbaceousVegetation_1056", "Residential_1762", "Forest_943"),
        "7dac90dec1b73063",
        eurosat("SeaLake_804", "Forest_1554", "River_2237", "HerbaceousVegetation_2066", "SeaLake_2452"),
        "5c9a3ab3702faf20",
        eurosat("Pasture_1875", "Residential_150", "AnnualCrop_1282"), "244a530e55bd9aff",
    ),
    "resisc45": (
        resisc("dense_residential_068", "palace_207", "golf_course_450", "tennis_court_572", "runway_596"),
        "7c42d524f21f8a68",
        resisc("cloud_238", "roundabout_303", "dense_residential_278", "dense_residential_209", "parking_lot_294"),
        "2a2bb0da49b4bb17",
        resisc("tennis_court_586", "golf_course_556", "freeway_563"), "6588d8e91cd5eca4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("builder", GOLDEN)
def test_the_keys_of_a_part_equal_the_published_ones_in_order(builder):
    golden, keys = iter(GOLDEN[builder]), published_part_keys(builder)
    for part in PARTS:
        first, code = next(golden), next(golden)
        assert keys[part][: len(first)] == first, part
        assert hashlib.sha256("\n".join(keys[part]).encode()).hexdigest()[:16] == code, part


def test_every_order_determined_by_names_has_a_golden_value():
    assert set(GOLDEN) == set(KNOWN_BUILDERS)


def test_the_order_of_cifar10_equals_that_printed_by_tfds():
    printed = [16399, 1680, 47917, 17307, 27051, 48736, 26263, 1456, 19135, 31598, 12970, 4223]
    assert tfds_order([str(n) for n in range(50000)], "train")[:12].tolist() == printed


def test_a_key_is_hashed_as_tfds_hashes_it():
    def digest(key: str | bytes) -> int:
        return int(hashlib.md5(b"test" + (key if isinstance(key, bytes) else key.encode())).hexdigest(), 16)

    keys = ["a/b.jpg", "é.jpg", b"c\\d", "7", *(f"k{n}" for n in range(50))]
    assert tfds_order(keys, "test").tolist() == sorted(range(len(keys)), key=lambda row: digest(keys[row]))
    both = tfds_order(["a\\b.jpg", "x", "y"], "test").tolist()
    assert both == tfds_order(["a/b.jpg", "x", "y"], "test").tolist(), "a backslash in text counts as a slash"
