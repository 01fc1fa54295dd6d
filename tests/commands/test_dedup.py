"""dedup finds changed copies between a training and a test set, and nothing else."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from helpers.images import make_scenes
from helpers.overrides import TINY
from vitrun.config import provenance, resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import run
from vitrun.runs.exclude import load_excluded_keys, resolve_exclude

NUMBER = 24  # of drawn scenes


def encode(image: np.ndarray, kind: str, quality: int = 75) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=quality)
    return buffer.getvalue()


def recompress(image: np.ndarray, quality: int) -> np.ndarray:
    return np.array(Image.open(BytesIO(encode(image, "jpeg", quality))))


def shrink(image: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))


# Each change of a copy, and how the copy is found.
COPIES = {
    "nothing": (lambda image: image, "exact"),
    "JPEG again": (lambda image: recompress(image, 50), "near"),
    "brighter": (lambda image: (image * 0.8 + 40).astype(np.uint8), "near"),
    "a pixel aside": (lambda image: np.roll(image, 1, axis=1), "near"),
    "smaller": (shrink, "near"),
    "without colour": (lambda image: np.array(Image.fromarray(image).convert("L").convert("RGB")), "near"),
    "mirrored": (lambda image: image[:, ::-1], "mirrored"),
    "upside down": (lambda image: image[::-1], None),
    "a quarter of it": (lambda image: image[:48, :48], None),
}


def write_folder(root: Path, test: list[np.ndarray], train: list[np.ndarray]) -> Path:
    """Write images as PNG in class folders, even ones in class a and odd ones in b; return ``root``."""
    for part, images in (("test", test), ("train", train)):
        for number, image in enumerate(images):
            file = root / part / "ab"[number % 2] / f"{number:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode(np.ascontiguousarray(image), "png"))
    return root


def load_pairs(recipe) -> list[dict]:
    return pyarrow.parquet.read_table(folder_of(recipe) / "duplicates.parquet").to_pylist()


def folder_of(recipe, command: str = "dedup") -> Path:
    return recipe.runs / run.run_name(command, recipe)


@pytest.fixture
def doubled(tmp_path) -> Path:
    """Write a folder whose first test images are copies of training images, each changed in another way."""
    train = make_scenes(NUMBER, 0)
    copies = [change(train[number]) for number, (change, _) in enumerate(COPIES.values())]
    return write_folder(tmp_path / "doubled", [*copies, *make_scenes(6, 1)], list(train))


def test_each_kind_of_copy_is_found_and_nothing_else(run_command, doubled):
    recipe, result = run_command("dedup", "data=folder", f"data.path={doubled}")
    kinds = {}
    for pair in load_pairs(recipe):
        assert pair["test"] == pair["train"], "copies have the number of their original"
        kinds.setdefault(int(pair["test"][2:5]), []).append(pair["how"])
    expected = {
        number: [*["exact"] * (how == "exact"), "mirrored" if how == "mirrored" else "near"]
        for number, (_, how) in enumerate(COPIES.values())
        if how
    }
    assert kinds == expected
    count = len(expected)
    assert result == {
        "exact": 1, "near": count, "duplicates": count, "test_images": len(COPIES) + 6, "excluded": count,
        "train_images": NUMBER,
    }  # fmt: skip
    excluded = (folder_of(recipe) / "exclude.txt").read_text().splitlines()
    assert sorted(excluded) == sorted({pair["train"] for pair in load_pairs(recipe)})


def test_an_image_that_cannot_be_decoded_is_named_and_matches_no_other(run_command, doubled):
    (doubled / "train/a/000.png").write_bytes(b"<html>404</html>")
    (doubled / "train/a/002.png").write_bytes(b"<html>500</html>")
    recipe, result = run_command("dedup", "data=folder", f"data.path={doubled}")
    assert not {"a/000.png", "a/002.png"} & {pair["train"] for pair in load_pairs(recipe)} and result["duplicates"]
    assert (
        "compared by its bytes alone: a/000.png is not a readable image" in (folder_of(recipe) / "log.txt").read_text()
    )


def test_a_mirrored_copy_counts_only_where_training_mirrors(run_command, doubled):
    recipe, _ = run_command("dedup", "data=folder", f"data.path={doubled}", "data.flip=false")
    assert {pair["how"] for pair in load_pairs(recipe)} == {"exact", "near"}


def test_features_find_copies_and_more_of_them_at_a_lower_similarity(run_command, doubled):
    overrides = ("data=folder", f"data.path={doubled}", "init=random:vit_nano8", "res=32", "precision=fp32")
    recipe, result = run_command("dedup", *overrides, "similarity=0.999")
    matches = {pair["test"]: pair["train"] for pair in load_pairs(recipe) if pair["how"] == "features"}
    assert result["features"] == len(matches) >= 1 and matches["a/000.png"] == "a/000.png"
    assert run_command("dedup", *overrides, "similarity=0.5")[1]["features"] >= result["features"]


def test_hashes_of_a_training_set_are_computed_once_for_all_test_sets(run_command, doubled, tmp_path):
    overrides = ("data=folder", f"data.path={doubled}")
    other = write_folder(tmp_path / "other", list(make_scenes(4, 0)), list(make_scenes(4, 5)))
    run_command("dedup", *overrides)
    recipe, result = run_command("dedup", *overrides, "against=folder", f"against.path={other}")
    assert (result["exact"], result["duplicates"], result["test_images"]) == (4, 4, 4)
    assert (folder_of(recipe) / "log.txt").read_text().count("hashes of 24 images read from") == 1
    assert len(list((tmp_path / "runs" / "hashes").iterdir())) == 3


def test_a_dry_run_finds_the_images_and_writes_nothing(run_command, doubled, tmp_path):
    _, result = run_command("dedup", "data=folder", f"data.path={doubled}", dry=True)
    assert result == {"test_images": len(COPIES) + 6, "train_images": NUMBER} and not (tmp_path / "runs").exists()


def test_pretraining_leaves_out_the_duplicates_of_a_dedup_run(run_command, doubled):
    overrides = ("data=folder", f"data.path={doubled}")
    searched, counts = run_command("dedup", *overrides)
    training = (*overrides, "model=vit_nano8", "batch=8", "steps=2", "warmup=0")
    unfiltered, _ = run_command("pretrain", *training)
    for exclude in (run.run_name("dedup", searched), str(folder_of(searched) / "exclude.txt")):
        recipe, _ = run_command("pretrain", *training, f"exclude={exclude}")
        log = (folder_of(recipe, "pretrain") / "log.txt").read_text()
        left = NUMBER - counts["excluded"]
        assert f"left out: {counts['excluded']} of {NUMBER} training images" in log
        assert f"{left} training and" in log
        texts = [(folder_of(r, "pretrain") / "about.json").read_text() for r in (unfiltered, recipe)]
        assert len({text.partition('"train_data"')[2][:22] for text in texts}) == 2, "the fingerprint differs"


def test_a_list_of_other_images_is_refused(run_command, doubled, tmp_path):
    searched, _ = run_command("dedup", "data=folder", f"data.path={doubled}")
    with pytest.raises(UserError, match="searched other training images") as error:
        run_command("pretrain", *TINY, f"exclude={run.run_name('dedup', searched)}")
    assert error.value.status == ExitCode.DATA
    (tmp_path / "keys.txt").write_text("train-0000001-shape-32\nnone\n")
    with pytest.raises(UserError, match="1 of the 2 images to exclude are not training images, such as none"):
        run_command("pretrain", *TINY, f"exclude={tmp_path / 'keys.txt'}")


def test_a_hash_in_a_path_is_a_part_of_it_first(tmp_path):
    (file := tmp_path / "a#123456789abc").write_text("train/1.png\n")
    resolved = resolve_exclude(str(file), tmp_path)
    assert resolved.startswith(f"{file}#") and resolve_exclude(resolved, tmp_path) == resolved


def test_a_list_may_have_a_byte_order_mark_and_line_ends_of_windows(tmp_path):
    (tmp_path / "keys.txt").write_bytes(b"\xef\xbb\xbfcat/1.jpg\r\ncat/2.jpg\r\n\r\n")
    assert load_excluded_keys([f"{tmp_path / 'keys.txt'}#0"], tmp_path, "") == {"cat/1.jpg", "cat/2.jpg"}


def test_eval_counts_with_and_without_the_duplicates(run_command, doubled):
    overrides = ("data=folder", f"data.path={doubled}")
    run_command("pretrain", *overrides, "model=vit_nano8", "batch=8", "steps=2", "warmup=0")
    searched, counts = run_command("dedup", *overrides)
    recipe, result = run_command("eval", f"dedup={run.run_name('dedup', searched)}")
    answers = pyarrow.parquet.read_table(folder_of(recipe, "eval") / "preds.parquet").to_pylist()
    dups = {pair["test"] for pair in load_pairs(searched)}
    right = {answer["id"]: answer["label"] == answer["top5"][0] for answer in answers}
    assert result["dups"] == counts["duplicates"] == len(dups)
    assert result["top1"] == pytest.approx(np.mean(list(right.values())))
    assert result["top1_dedup"] == pytest.approx(np.mean([hit for key, hit in right.items() if key not in dups]))
    with pytest.raises(UserError, match="this run looked for other test images"):
        run_command(
            "eval", "init=random:vit_nano8", "data=digits", "res=32", f"dedup={run.run_name('dedup', searched)}"
        )


def test_eval_accepts_a_dedup_run_of_the_same_images_with_bad_ones_and_refuses_others(run_command, doubled, tmp_path):
    overrides = ("data=folder", f"data.path={doubled}")
    run_command("pretrain", *overrides, "model=vit_nano8", "batch=8", "steps=1", "warmup=0")
    (doubled / "test" / "a" / "014.png").write_bytes(b"no image")
    searched, counts = run_command("dedup", *overrides)
    override = f"dedup={run.run_name('dedup', searched)}"
    _, result = run_command("eval", override, "bad_images=skip")
    assert result["images_used"] == 14 and result["dups"] == counts["duplicates"] > 0
    others = write_folder(tmp_path / "others", list(make_scenes(15, 7)), list(make_scenes(4, 8)))
    with pytest.raises(UserError, match="this run looked for other test images"):
        run_command("eval", override, f"data.path={others}")


# arguments, the option at fault, the suggestion in the message, exit status
WRONG = [
    ("dedup against=shapse", "against", "Did you mean shapes?", ExitCode.COMMAND),
    ("dedup against=folder", "against", "add against.path=FOLDER", ExitCode.COMMAND),
    ("dedup against=folder against.path=/nowhere", "against.path", "there is no folder", ExitCode.DATA),
    ("dedup against.path=/nowhere", "against.path", "it is an option of against=", ExitCode.COMMAND),
    ("dedup distance=65", "distance", "", ExitCode.COMMAND),
    ("dedup similarity=2", "similarity", "", ExitCode.COMMAND),
    ("dedup data=imagenet_real data.path=/", "data", "is for vitrun eval only", ExitCode.COMMAND),
    ("dedup against=shapes against.source=files", "against.source", "against=NAME", ExitCode.COMMAND),
    ("pretrain exclude=nothing", "exclude", "vitrun dedup", ExitCode.DATA),
    ("eval init=random:vit_nano8 data=digits dedup=nothing", "dedup", "There is none", ExitCode.DATA),
]


@pytest.mark.parametrize("line, option, suggestion, status", WRONG, ids=[line for line, *_ in WRONG])
def test_a_wrong_override_of_dedup_is_refused_with_a_suggestion(line, option, suggestion, status, tmp_path):
    command, *overrides = line.split()
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe(command, [*overrides, f"runs={tmp_path}"])
    assert (error.value.option, error.value.status) == (option, status)
    assert suggestion in str(error.value)


def test_an_error_in_the_test_set_names_its_options(run_command, doubled):
    with pytest.raises(
        UserError, match=r"^against\.path=.*/doubled has 3 test images as published.*against\.test_images=15"
    ):
        run_command("dedup", "against=folder", f"against.path={doubled}", "against.test_images=3")


def test_cfg_shows_both_data_sets_and_their_sources(tmp_path):
    overrides = ["against=digits", "against.test_images=9", "data.train_images=20"]
    shown = provenance.format_config("dedup", overrides, resolve.resolve_recipe("dedup", overrides))
    sources = {line.split("=")[0]: line.rpartition("# ")[2] for line in shown.splitlines()}
    assert sources["against.test_images"] == sources["against"] == "command line"
    assert (sources["against.crop"], sources["data"]) == ("conf/data/digits.yaml", "conf/dedup.yaml")
    shown = provenance.format_config("dedup", [], resolve.resolve_recipe("dedup", []))
    assert "against=shapes" in shown and "data, whose test part it is" in shown
