"""A run is named after its content: not after the place where data and weights lie, nor how it is spelt."""

import os
import shutil
import time
from pathlib import Path
from threading import Thread

import pytest
import yaml

from helpers.images import link_folders, write_class_folders, write_part_folders
from helpers.runs import hash_weights
from vitrun.commands import pretrain
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import content, execution, folder_content, run
from vitrun.runs.results import FinishedRun, load_finished_run
from vitrun.runtime import fingerprints
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
    assert isinstance(one, FinishedRun) and isinstance(two, FinishedRun) and one.computed == two.computed
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


def test_a_file_of_weights_that_has_another_name_now_finds_the_run_that_was_made_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"weights")

    def evaluate(file: str) -> dict:
        recipe = resolve.resolve_recipe("eval", [f"init={file}", "data=digits"])
        return execution.execute_run("eval", recipe, Screen(quiet=True), lambda *_: {"file": file})

    assert evaluate("a.pth") == {"file": "a.pth"}
    (tmp_path / "a.pth").rename(tmp_path / "b.pth")
    assert evaluate("b.pth") == {"file": "a.pth"}


def write_same_size(file: Path) -> None:
    """Change one byte of a file, and set its time back to what it was."""
    times, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_every_byte_of_a_folder_counts_whatever_its_size_and_time_say(tmp_path):
    folder = tmp_path / "set"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(700):
            (folder / name / f"{number}.png").write_bytes(b"%d" % number * 5)
    codes = [folder_content.examine_folder(str(folder)).fingerprint]
    for file in ("a/0.png", "a/333.png", "b/698.png"):
        write_same_size(folder / file)
        codes.append(folder_content.examine_folder(str(folder)).fingerprint)
    assert len(set(codes)) == 4
    copied = shutil.copytree(folder, tmp_path / "copied")
    assert folder_content.examine_folder(str(copied)).fingerprint == codes[-1]


def test_links_among_folders_count_by_where_they_lead(tmp_path):
    link_folders(tmp_path / "set", 12)
    (tmp_path / "set" / "1" / "a.png").write_bytes(b"1")
    codes = []
    for target in ("0", "1", "2"):
        (tmp_path / "set" / "link").symlink_to(target)
        codes.append(folder_content.examine_folder(str(tmp_path / "set")).fingerprint)
        (tmp_path / "set" / "link").unlink()
    assert len(set(codes)) == 3


@pytest.mark.parametrize("name", ["cat/#1.jpg", "cat/$x.jpg", "cat/image", "real.json", "@home/1.png"])
def test_every_file_that_a_source_reads_counts(tmp_path, name):
    write_class_folders(tmp_path, ["cat", "dog"])
    first = folder_content.examine(tmp_path, True).fingerprint
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"1")
    assert folder_content.examine_folder(str(tmp_path), folder_content.UNREAD_SUFFIXES).fingerprint != first


@pytest.mark.parametrize("source", ["table", "captions", "coco"])
def test_the_images_that_a_file_beside_them_names_count_and_other_files_do_not(source, tmp_path):
    image = write_class_folders(tmp_path, ["cat", "dog"], 2) / "cat" / "0.png"
    options = {"data": {"source": source, "path": str(tmp_path / "a.csv"), "images": None}}
    (tmp_path / "a.csv").write_text("image,label\ncat/0.png,cat\n")

    def identify() -> dict[str, str]:
        folder_content.examine_real_path.cache_clear()
        return content.identify_content(options)

    first = identify()
    (tmp_path / "report.html").write_text("a page")
    assert identify() == first
    image.write_bytes(image.read_bytes()[:-1] + b"?")
    assert identify() != first and identify()["data.path"] == first["data.path"]


@pytest.mark.parametrize(
    ("path", "part"), [("a.csv", "b.csv"), ("tables", "../b.csv"), ("tables", "{root}/b.csv")], ids=str
)
def test_a_part_that_is_not_below_the_path_counts(path, part, tmp_path):
    (tmp_path / "tables").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("image,label\ncat/0.png,cat\n")
    data = {"source": "table", "path": str(tmp_path / path), "images": None, "train": "auto"}
    options = {"data": data | {"test": part.format(root=tmp_path)}}

    def identify() -> dict[str, str]:
        folder_content.examine_real_path.cache_clear()
        return content.identify_content(options)

    first = identify()
    (tmp_path / "b.csv").write_text("image,label\ncat/0.png,dog\n")
    assert {key for key, value in identify().items() if value != first[key]} == {"data.test"}


def test_the_labels_that_a_description_of_yolo_names_count(tmp_path):
    label = tmp_path / "labels" / "0.txt"
    label.parent.mkdir()
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    options = {"data": {"source": "coco", "path": str(tmp_path / "data.yaml"), "images": None}}
    label.write_text("0 0.5 0.5 0.25 0.25\n")
    first = content.identify_content(options)
    label.write_text("0 0.5 0.5 0.25 0.75\n")
    assert content.identify_content(options) != first


def test_files_are_read_again_only_if_they_were_touched(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "SETTLED_SECONDS", -9)
    folder, hashed = write_class_folders(tmp_path / "set", ["cat", "dog"], 3), []
    hash_bytes = folder_content.hash_bytes
    monkeypatch.setattr(folder_content, "hash_bytes", lambda path, ends: hashed.append(path) or hash_bytes(path, ends))
    codes = [folder_content.examine_folder(str(folder)) for _ in range(2)]
    assert len(hashed) == 6 and codes[0] == codes[1]
    write_same_size(next(folder.rglob("*.*")))
    assert folder_content.examine_folder(str(folder)) != codes[0] and len(hashed) == 12
    (tmp_path / "cache/vitrun/fingerprints.json").write_text("[")
    folder_content.examine_folder(str(folder))
    assert len(hashed) == 18
    monkeypatch.setattr(fingerprints, "SETTLED_SECONDS", 2)  # files that are younger may change within a tick
    write_same_size(next(folder.rglob("*.*")))
    assert [folder_content.examine_folder(str(folder)) and len(hashed) for _ in range(2)] == [24, 30]


def test_of_a_large_folder_a_bounded_sample_is_read_and_a_finished_run_says_that_files_were_touched(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(folder_content, "MAX_WHOLE", 1000)
    monkeypatch.setattr(folder_content, "MAX_SAMPLE", 4)
    hashed = []
    monkeypatch.setattr(folder_content, "hash_bytes", lambda path, ends: hashed.append((Path(path).stem, ends)) or b"")
    write_part_folders(tmp_path / "set", {"train": 0, "test": 1})

    def start(folder: str) -> str:
        folders = [f"data.path={tmp_path / folder}", f"runs={tmp_path / 'runs'}"]
        recipe = resolve.resolve_recipe("pretrain", [*SMALL, *folders])
        execution.execute_run("pretrain", recipe, Screen(), lambda recipe, run: {})
        shown = capsys.readouterr()
        return " ".join((shown.out + shown.err).split())

    assert "replaced" not in start("set")
    assert 2 < len(hashed) <= 4 and {ends for _, ends in hashed} == {folder_content.END_BYTES}
    assert "replaced" not in start("set")
    shutil.copytree(tmp_path / "set", tmp_path / "copied")
    shown = start("copied")
    assert "is finished" in shown and "Files of data.path were written, replaced or copied since" in shown
