"""A run is named after its content: not after the place where data and weights lie, nor how it is spelt."""

import os
import shutil
import time
from pathlib import Path
from threading import Thread

import pytest
import yaml

from helpers.images import write_class_folders, write_part_folders
from helpers.runs import hash_weights
from vitrun.commands import pretrain
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import content, execution, run
from vitrun.runs.results import list_computed_options, load_finished_run
from vitrun.runtime.console import Screen

SMALL = ["model=vit_nano8", "data=folder", "batch=8", "steps=60", "warmup=2", "save_minutes=9", "res=16"]


def name_of(*overrides: str, command: str = "pretrain") -> str:
    """Return the name of the run of a recipe."""
    return run.run_name(command, resolve.resolve_recipe(command, [*overrides]))


def name_with(path: object, *overrides: str) -> str:
    """Return the name of a run on a folder."""
    return name_of("data=folder", f"data.path={path}", *overrides)


def perform(path: object, *overrides: str):
    """Pretrain on a folder; return the folder of the run."""
    recipe = resolve.resolve_recipe("pretrain", [*SMALL, f"data.path={path}", *overrides])
    execution.execute_run("pretrain", recipe, Screen(quiet=True), pretrain.execute)
    return recipe.runs / run.run_name("pretrain", recipe)


def test_every_spelling_of_a_path_gives_one_name(tmp_path, monkeypatch):
    folder = write_class_folders(tmp_path / "photos", ["cat", "dog"], 3)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = {name_with(path) for path in ("./photos", folder, f"{folder}/", "link", "~/photos", "photos/../photos")}
    assert len(names) == 1 and "-photos-" in names.pop()


def test_folders_of_other_images_have_other_names(tmp_path):
    for seed, place in enumerate(("a/photos", "b/photos")):  # equal names and sizes
        write_part_folders(tmp_path / place, {"train": seed, "test": seed + 5})
    first = name_with(tmp_path / "a/photos")
    assert first != name_with(tmp_path / "b/photos")
    (tmp_path / "a/photos/train/.DS_Store").write_bytes(b"1")
    (tmp_path / "a/photos/notes.txt").write_text("not an image")
    assert name_with(tmp_path / "a/photos") == first
    image = next((tmp_path / "a/photos/train").rglob("*.*"))
    image.rename(image.with_name("renamed.png"))
    assert name_with(tmp_path / "a/photos") != first


def test_a_name_of_ones_own_names_the_run_but_is_not_part_of_what_is_computed(tmp_path):
    folder = write_class_folders(tmp_path / "x", ["cat", "dog"])
    assert name_with(folder, "data.name=photos").split("-")[-2:] == ["photos", name_with(folder).split("-")[-1]]
    assert "-folder-cifar10-" in name_with(shutil.copytree(folder, tmp_path / "cifar10"))
    for name in ("cifar10", "null"):
        with pytest.raises(UserError) as error:
            name_with(folder, f"data.name={name}")
        assert error.value.option == "data.name"


def test_a_moved_folder_resumes_to_the_same_bits_and_its_result_is_found(tmp_path):
    folder = tmp_path / "photos"
    write_part_folders(folder, {"train": 0, "test": 1})
    perform(folder, f"runs={tmp_path / 'whole'}")

    def stop_soon() -> None:
        while not any('"step": 3' in file.read_text() for file in tmp_path.glob("stopped/*/metrics.jsonl")):
            time.sleep(0.005)
        os.kill(os.getpid(), 2)

    Thread(target=stop_soon).start()
    with pytest.raises(run.Interrupted):
        perform(folder, f"runs={tmp_path / 'stopped'}")
    moved = folder.rename(tmp_path / "moved")
    stopped = perform(moved, f"runs={tmp_path / 'stopped'}")
    assert "-photos-" in stopped.name and len(list((tmp_path / "stopped").iterdir())) == 1
    assert hash_weights(tmp_path / "whole") == hash_weights(tmp_path / "stopped")

    last = moved.rename(tmp_path / "last")
    finished = (stopped / "result.json").read_bytes()
    assert perform(last, f"runs={tmp_path / 'stopped'}") == stopped
    assert (stopped / "result.json").read_bytes() == finished
    assert yaml.safe_load((stopped / "recipe.yaml").read_text())["data"]["path"] == str(last)
    whole = next((tmp_path / "whole").iterdir())
    one, two = (load_finished_run(each, ("pretrain",), True) for each in (whole, stopped))
    assert list_computed_options(one) == list_computed_options(two)
    evaluate = [f"init={whole.name}", f"runs={tmp_path / 'whole'}"]
    with pytest.raises(UserError, match="add data.path=FOLDER") as error:
        resolve.resolve_recipe("eval", evaluate)
    assert error.value.status == ExitCode.DATA and error.value.option == "data.path"
    assert resolve.resolve_recipe("eval", [*evaluate, f"data.path={last}"]).data.path == last


def test_weights_in_a_file_are_identified_by_their_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"weights")
    (tmp_path / "b").symlink_to(tmp_path)
    places = ("a.pth", "./a.pth", "b/a.pth", tmp_path / "a.pth")
    (name,) = {name_of(f"init={path}", "data=digits", command="eval") for path in places}
    (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / name / "recipe.yaml").touch()
    (tmp_path / "a.pth").rename(tmp_path / "c.pth")
    assert name_of("init=c.pth", "data=digits", command="eval") == name
    (tmp_path / "c.pth").write_bytes(b"other weights")
    assert name_of("init=c.pth", "data=digits", command="eval") != name


def test_the_sample_of_a_folder_is_even_and_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "MAX_SAMPLE", 4)
    sizes = []
    monkeypatch.setattr(content, "file_size", lambda path: sizes.append(Path(path).stem) or 0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in range(7):
            (tmp_path / folder / f"{number}.png").touch()
    content.fingerprint_folder(str(tmp_path), content.DATA_SUFFIXES)
    assert sizes == ["0", "4", "1", "5"]
