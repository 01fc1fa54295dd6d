"""Few-shot draws start from TFDS's order if the keys of a copy's images are known, otherwise from the copy's."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vitrun.data import draw_pool
from vitrun.data.draw_pool import find_draw_pool
from vitrun.data.split import Split
from vitrun.data.tfds_order import read_order, tfds_order

ROW = SimpleNamespace(train="train")


def make_split(names, classes: int, **facts) -> Split:
    return Split(names, np.arange(len(names)) % classes, tuple(map(str, range(classes))), **facts)


def test_the_first_65000_images_of_imagenet_are_in_the_order_in_which_tfds_reads_them():
    # scripts/check_draw_order.py compares this order with that of TFDS; the digest is that of the same positions.
    positions = read_order(1_281_167, 1024, 65_000)
    assert positions[:18].tolist() == [*range(16), 1251, 1252]  # 16 of the first shard, then of the second
    np.testing.assert_array_equal(np.sort(positions), np.arange(65_000))
    assert hashlib.sha256(positions.astype("<i8").tobytes()).hexdigest()[:16] == "3f6cb27812ef16ba"


def test_one_shard_is_read_from_its_start_to_its_end():
    np.testing.assert_array_equal(read_order(50, 1, 50), np.arange(50))


@pytest.mark.parametrize("form", ["{}.jpg", "{}.png", "00000007/{}.jpg", "some_class/{}.jpeg", "shard-3/{}"])
@pytest.mark.parametrize("name, shards", [("Abyssinian_{}", 4), ("image_{:05d}", 1)])
def test_every_copy_with_the_file_names_gives_the_same_draws(form, name, shards):
    images, classes = {4: (3_680, 37), 1: (1_020, 102)}[shards]
    names = [name.format(n) for n in np.random.default_rng(0).permutation(images)]
    pool = find_draw_pool(ROW, make_split([form.format(one) for one in names], classes))
    expected = sorted(names, key=lambda one: hashlib.md5(f"train{one}.jpg".encode()).digest())
    assert [names[row] for row in pool.order] == [expected[at] for at in read_order(images, shards, images)]
    assert "TensorFlow Datasets (oxford_" in pool.note


def test_another_split_of_the_same_size_has_another_order():
    split = make_split([f"image_{n:05d}.jpg" for n in range(1_020)], 102)
    order = find_draw_pool(SimpleNamespace(train="validation"), split).order
    np.testing.assert_array_equal(order, tfds_order(split.keys, "validation"))


def test_images_without_names_keep_the_order_of_the_copy_and_the_note_says_so():
    names = [f"{n:08d}/" for n in range(3_680)]
    one_lost = [f"Abyssinian_{n}.jpg" for n in range(3_679)] + ["x.jpg"]
    for split in (make_split(names, 37), make_split(one_lost, 37), make_split(["Pug_1.jpg"] * 3_680, 37)):
        pool = find_draw_pool(ROW, split)
        np.testing.assert_array_equal(pool.order, np.arange(3_680))
        assert "the order of this copy" in pool.note and "needs file names such as Abyssinian_100.jpg" in pool.note
    own = find_draw_pool(ROW, make_split(names[:100], 37))
    np.testing.assert_array_equal(own.order, np.arange(100))
    assert "no published one is known" in own.note


def make_cifar(monkeypatch, classes: int) -> Split:
    """Return random images, with the digests of their records in place of the published ones."""
    coarse = np.array(draw_pool.CIFAR100_COARSE)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 32, 32), np.uint8)
    split = make_split([str(n) for n in range(60)], classes, pixels=torch.from_numpy(pixels))
    heads = [[label] if classes == 10 else [coarse[label], label] for label in split.labels]
    records = [bytes(head) + image.tobytes() for head, image in zip(heads, pixels)]
    files = (records[:30], records[30:]) if classes == 10 else (records,)
    digests = tuple(hashlib.sha1(b"".join(file)).hexdigest() for file in files)
    index = {10: 1, 100: 2}[classes]
    known = draw_pool.TRAINING_SPLITS[index]
    find_keys = draw_pool.partial(known.find_keys.func, **{**known.find_keys.keywords, "digests": digests})
    monkeypatch.setattr(draw_pool, "TRAINING_SPLITS", (replace(known, images=60, find_keys=find_keys),))
    return split


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_has_the_published_order_if_its_content_is_that_of_the_original_files(monkeypatch, classes):
    split = make_cifar(monkeypatch, classes)
    order = tfds_order([str(n) for n in range(60)], "train")
    np.testing.assert_array_equal(find_draw_pool(ROW, split).order, order)
    for other in (
        replace(split, pixels=split.pixels.flip(0)),  # in another order
        replace(split, labels=split.labels[::-1].copy()),
        replace(split, pixels=None),
        replace(split, pixels=split.pixels[..., :16]),
    ):
        pool = find_draw_pool(ROW, other)
        np.testing.assert_array_equal(pool.order, np.arange(60))
        assert "the order of this copy" in pool.note


def test_each_of_the_twenty_coarse_classes_of_cifar100_has_five_fine_ones():
    assert np.bincount(draw_pool.CIFAR100_COARSE).tolist() == [5] * 20


def test_draws_of_imagenet_are_from_the_first_images_that_tfds_reads(monkeypatch):
    known = replace(draw_pool.TRAINING_SPLITS[0], images=300, shards=3, first=150)
    monkeypatch.setattr(draw_pool, "TRAINING_SPLITS", (known,))
    names = [f"n{row % 7:08d}_{row}" for row in range(300)]
    keys = [f"{row:08d}/{name}_{name[:9]}.JPEG" for row, name in enumerate(names)]
    pool = find_draw_pool(ROW, make_split(keys, 1000))
    expected = sorted(names, key=lambda one: hashlib.md5(f"train{one}.JPEG".encode()).digest())
    assert [names[row] for row in pool.order] == [expected[at] for at in read_order(300, 3, 150)]
    assert "the first 150 of 300" in pool.note
