"""Bad images: training replaces them up to a limit, evaluation stops or skips them."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.image_files import JPEG, PIXELS, PNG, encode_image, make_split
from vitrun import data
from vitrun.config import resolve
from vitrun.data.split import BadImage
from vitrun.data.transforms.views import CenterCropView, CropView
from vitrun.errors import ExitCode, UserError
from vitrun.runs import run

VIEW = CropView(8, "inception", (0.3, 1.0), True, 0)
SPOILT = (3, 4, 11)  # of twelve images: two in a row, and the last


def make_spoilt_split() -> data.Split:
    return make_split([JPEG[:-900] if n in SPOILT else encode_image(np.roll(PIXELS, n, 0), "PNG") for n in range(12)])


def load_batches(start: int = 0, reports: list | None = None) -> list[data.Batch]:
    budget = data.BadImageBudget(
        make_spoilt_split(), 0.5, lambda *one: reports.append(one) if reports is not None else None
    )
    return list(data.train_batches(make_spoilt_split(), VIEW, 4, 7, range(start, 9), budget))


def test_training_replaces_a_bad_image_by_the_next_with_its_own_label_and_reports_it_once():
    reports = []
    trained = load_batches(0, reports)
    for batch in trained:
        assert np.array_equal(batch.labels, batch.indices % 3)
    indices = np.concatenate([batch.indices for batch in trained])  # three epochs
    assert np.bincount(indices, minlength=12).tolist() == [6, 3, 3, 0, 0, 9, 3, 3, 3, 3, 3, 0]
    assert sorted(key for key, _ in reports) == ["train/11.jpg", "train/3.jpg", "train/4.jpg"]
    assert all("truncated" in reason for _, reason in reports)


def test_a_resumed_run_sees_the_same_replacements():
    for expected, resumed in zip(load_batches()[5:], load_batches(5), strict=True):
        assert np.array_equal(expected.indices, resumed.indices) and expected.images.equal(resumed.images)


@pytest.mark.parametrize("known", [(), ("train/3.jpg", "train/4.jpg")], ids=["at first", "resumed"])
def test_more_bad_images_than_allowed_end_the_run(known):
    budget = data.BadImageBudget(make_spoilt_split(), 0.1, lambda *_: None, known)
    with pytest.raises(UserError, match="of 12 training images cannot be read.*bad_images=0.1") as error:
        list(data.train_batches(make_spoilt_split(), VIEW, 4, 7, range(9), budget))
    assert error.value.status == ExitCode.DATA


@pytest.mark.parametrize("limit, allowed", [(3, True), (2, False), (0.25, True), (0.24, False), (0, False)])
def test_the_limit_is_a_number_or_a_share_and_checked_before_training(limit, allowed):
    reports = []
    budget = data.BadImageBudget(make_spoilt_split(), limit, lambda *one: reports.append(one))
    if allowed:
        assert data.check_before_training(make_spoilt_split(), budget) == (
            "checked: all 12 training images can be read, but 3"
        )
    else:
        with pytest.raises(UserError, match=f"3 of 12 .*train/11.jpg, train/3.jpg, train/4.jpg.*={limit:g} allows"):
            data.check_before_training(make_spoilt_split(), budget)
    assert len(reports) == 3 and len(budget.pop_new()) == 3


def test_a_large_set_is_checked_by_a_sample(monkeypatch):
    monkeypatch.setattr("vitrun.data.bad_images.CHECK_SECONDS", 0)
    split = make_split([PNG] * 2000)
    assert "checked: 64 of 2,000 training images" in data.check_before_training(
        split, data.BadImageBudget(split, 0, lambda *_: None)
    )


@pytest.mark.parametrize("value", ["3", "0", "0.01", "1"])
def test_bad_images_is_a_number_or_a_share(value):
    recipe = resolve.resolve_recipe("pretrain", ["model=vit_nano8", "data=shapes", f"bad_images={value}"])
    assert str(recipe.bad_images) == value


@pytest.mark.parametrize("value", ["-1", "1.5", "many"])
def test_bad_images_is_nothing_else(value):
    with pytest.raises(UserError, match="must be a number of images, as in 3, or a share below 1") as error:
        resolve.resolve_recipe("pretrain", ["model=vit_nano8", "data=shapes", f"bad_images={value}"])
    assert error.value.option == "bad_images"


def test_a_bad_test_image_is_an_error_or_dropped_but_never_replaced():
    with pytest.raises(BadImage, match="train/3.jpg"):
        list(data.test_batches(make_spoilt_split(), CenterCropView(8), 5))
    reports = []
    remaining = data.drop_bad_images(make_spoilt_split(), reports.append)
    assert len(remaining) == 9 and not {f"train/{n}.jpg" for n in SPOILT} & set(remaining.keys)
    assert (
        len(reports) == 3 and remaining.pixels is not None and remaining.fingerprint != make_spoilt_split().fingerprint
    )
    assert np.array_equal(remaining.labels, [n % 3 for n in range(12) if n not in SPOILT])
    with pytest.raises(UserError, match="None of 2 images can be read: train/0.jpg is not a readable image"):
        data.drop_bad_images(make_split([b"", b"<html>"]), reports.append)


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Class folders of PNG images of different sizes, ten to train with and eight to test."""
    for part, number in (("train", 5), ("test", 4)):
        for name in ("cat", "dog"):
            for n in range(number):
                place = tmp_path / "photographs" / part / name / f"{n}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(encode_image(np.roll(PIXELS, n, 1)[n:], "PNG"))
    return tmp_path / "photographs"


def test_a_run_reports_the_images_it_replaced_and_evaluation_those_it_skipped(run_command, photographs):
    overrides = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=10", "steps=3", "warmup=1")
    (photographs / "train" / "cat" / "2.png").write_bytes(b"<html>")
    with pytest.raises(UserError, match="1 of 10 training images cannot be read.*bad_images=0.001.*cat/2.png"):
        run_command("pretrain", *overrides)
    with pytest.raises(UserError, match="1 of 10 training images cannot be read"):
        run_command("pretrain", *overrides, dry=True)
    recipe, result = run_command("pretrain", *overrides, "bad_images=0.1")
    assert result["bad_images"] == 1 and result["bad_images_replaced"] == "cat/2.png" and result["test_images"] == 8
    folder = recipe.runs / run.run_name("pretrain", recipe)
    assert folder.name == run.run_name(
        "pretrain", resolve.resolve_recipe("pretrain", [*overrides, f"runs={recipe.runs}"])
    )
    assert "checked: all 10 training images can be read, but 1" in (folder / "log.txt").read_text()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["bad_image"] for line in lines if "bad_image" in line] == ["cat/2.png"]
    assert (
        "Unreadable, to be replaced in training: cat/2.png is not a readable image" in (folder / "log.txt").read_text()
    )

    (photographs / "test" / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match="1 of 8 test images cannot be read: dog/1.png"):  # before a step is done
        run_command("pretrain", *overrides, "bad_images=0.1", "seed=1")
    assert len(list(recipe.runs.iterdir())) == 1
    for command, options in (("eval", ()), ("fewshot", ("shots=1", "seeds=0", *overrides[1:3]))):
        with pytest.raises(UserError, match=r"(dog/1|cat/2).png is not a readable image") as error:
            run_command(command, *options)
        assert error.value.status == ExitCode.DATA
        recipe, result = run_command(command, *options, "bad_images=skip")
        assert (result["images_used"], result["images_expected"]) == (7, 8)
        log = (recipe.runs / run.run_name(command, recipe) / "log.txt").read_text()
        assert "skipped: dog/1.png is not a readable image (0 bytes" in log
