"""Features are cached by images and weights, and recomputed if a file is damaged."""

import json
import os
import shutil
from importlib.metadata import version
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from helpers.images import write_part_folders
from helpers.runs import pretrain_tiny, run_folder
from vitrun.probes import feature_cache, feature_files
from vitrun.recipes import tables
from vitrun.runs import folder_content


def test_damaged_features_are_recomputed(run_command, tmp_path):
    pretrain_tiny(run_command)
    overrides = ["data=digits", "shots=1"]
    run_command("fewshot", *overrides, "seeds=0")
    files = sorted((tmp_path / "runs" / "features").iterdir())
    for file in files:
        os.truncate(file, 30)
    run_command("fewshot", *overrides, "seeds=0,1")
    again = sorted((tmp_path / "runs" / "features").iterdir())
    assert len(again) == len(files) == 2 and all(load_file(file) for file in again)


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


def test_features_are_not_those_of_an_image_of_the_same_name_and_size_nor_of_other_libraries(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "set" / "cat").mkdir(parents=True)
    image = tmp_path / "set" / "cat" / "1.bmp"
    row, keys = tables.load_data_row("folder", path=tmp_path / "set"), []
    for values in pixels:
        Image.fromarray(values).save(image)
        os.utime(image, (9, 9))
        folder_content.examine_real_path.cache_clear()
        keys.append(feature_cache.identify_images(row))
    assert keys[0] != keys[1] and keys[1] == feature_cache.identify_images(row)


def test_features_of_another_version_of_a_library_are_not_used(run_command, tmp_path, monkeypatch):
    overrides = ("fewshot", "init=random:vit_nano8", "res=32", "seeds=0", "data.test_images=1700")
    run_command(*overrides, "shots=1")
    monkeypatch.setattr(feature_cache, "version", lambda name: "0" if name == "pillow" else version(name))
    run_command(*overrides, "shots=2")
    assert len(list((tmp_path / "runs" / "features").iterdir())) == 4


def load_rows(tmp_path) -> list[list[int]]:
    """Return the rows of the images in each file of features, those of the training images first."""
    files = (tmp_path / "runs" / "features").iterdir()
    return sorted((load_file(file)["rows"].tolist() for file in files), key=len)


def test_another_seed_and_more_shots_embed_only_their_own_images(run_command, tmp_path):
    overrides = ("fewshot", "init=random:vit_nano8", "res=32", "data.test_images=1500")
    run_command(*overrides, "shots=1", "seeds=0")
    recipe, result = run_command(*overrides, "shots=1,2", "seeds=0,1")
    first, more, test = load_rows(tmp_path)
    assert len(first) == 10 and len(test) == 1500 and not set(first) & set(more)
    drawn = json.loads((run_folder(recipe, "fewshot") / "drawn.json").read_text())
    assert len({key for keys in drawn.values() for key in keys}) == len(first) + len(more)
    shutil.rmtree(tmp_path / "runs")
    assert run_command(*overrides, "shots=1,2", "seeds=0,1")[1] == result


def test_what_was_embedded_before_a_process_is_killed_stays(run_command, tmp_path, monkeypatch):
    overrides = ("fewshot", "init=random:vit_nano8", "res=32", "shots=1", "seeds=0", "data.test_images=40")
    monkeypatch.setattr(feature_files, "BLOCK", 16)
    save = feature_files.FeatureFiles.save

    def save_or_die(self, rows, tensors):
        if rows[0] == 32:
            raise KeyboardInterrupt
        save(self, rows, tensors)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(feature_files.FeatureFiles, "save", save_or_die)
        run_command(*overrides)
    assert [*map(len, load_rows(tmp_path))] == [10, 16, 16]
    _, result = run_command(*overrides)
    assert [*map(len, load_rows(tmp_path))] == [8, 10, 16, 16]
    shutil.rmtree(tmp_path / "runs")
    assert run_command(*overrides)[1] == result
