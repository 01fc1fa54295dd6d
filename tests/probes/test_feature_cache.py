"""Features are cached by images and weights, and recomputed if a file is damaged."""

import os
import shutil
from itertools import combinations

from PIL import Image
from safetensors.numpy import load_file

from helpers.images import write_part_folders
from helpers.runs import pretrain_tiny, run_folder


def test_damaged_features_are_recomputed(run_command, tmp_path):
    pretrain_tiny(run_command)
    overrides = ["data=digits", "shots=1"]
    run_command("fewshot", *overrides, "seeds=0")
    files = sorted((tmp_path / "runs" / "features").iterdir())
    for file in files:
        os.truncate(file, 30)
    run_command("fewshot", *overrides, "seeds=0,1")
    assert files and all(load_file(file) for file in files)


def test_features_with_a_flipped_bit_are_recomputed_and_readable_by_all(run_command, tmp_path):
    overrides = ["fewshot", "init=random:vit_nano8", "res=32", "data.test_images=1700"]
    _, first = run_command(*overrides, "shots=1")
    files = sorted((tmp_path / "runs" / "features").iterdir())
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o666 & ~umask()
        content = bytearray(file.read_bytes())
        content[-100] ^= 64
        file.write_bytes(content)
    _, second = run_command(*overrides, "shots=1,2")
    assert second["shot1"] == first["shot1"]


def umask() -> int:
    os.umask(now := os.umask(0))
    return now


def test_parts_of_equal_names_and_sizes_have_separate_features(run_command, tmp_path):
    write_part_folders(tmp_path / "all", {"train": 0, "test": 1})
    overrides = ["init=random:vit_nano8", "res=32", "data=folder", f"data.path={tmp_path / 'all'}", "shots=4"]
    for more in ((), ("probe=linear", "layers=2", "linear.l2=0.00001")):
        _, result = run_command("fewshot", *overrides, *more)
        assert result.get("shot4", result.get("layer2")) < 1, "as it would be on the training images"


def test_features_are_read_from_the_cache_the_second_time(run_command, tmp_path):
    overrides = ("init=random:vit_nano8", "res=32", "shots=1", "seeds=0", "data.test_images=40")
    run_command("fewshot", *overrides)
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "runs" / "features").iterdir()}
    recipe, _ = run_command("fewshot", *overrides, "l2=1")
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "runs" / "features").iterdir()} == files and len(files) == 2
    assert "read from" in (run_folder(recipe, "fewshot") / "log.txt").read_text()


def test_features_of_other_images_with_the_same_names_and_labels_are_not_used(run_command, photographs, tmp_path):
    shutil.copytree(photographs, tmp_path / "grey")
    for file in (tmp_path / "grey").rglob("*.jpg"):
        Image.open(file).convert("L").save(file)
    for folder in (photographs, tmp_path / "grey"):
        run_command("fewshot", "init=random:vit_nano8", "res=32", "data=folder", f"data.path={folder}", "shots=1")
    features = [load_file(file)["features"] for file in (tmp_path / "runs" / "features").iterdir()]
    assert len(features) == 4 and not any((a.shape == b.shape and (a == b).all()) for a, b in combinations(features, 2))
