"""predict: every image is answered or named, as eval answers it, and a killed command loses no line."""

import csv
import json
import os
import signal
import time
from contextlib import ExitStack
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

import vitrun
from helpers.processes import CommandProcess, read_error_line
from vitrun.commands import predict, prediction_files, prediction_rows, runner
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen

SMALL = ("model=vit_nano8", "data=folder", "batch=4", "steps=3", "warmup=1")


@pytest.fixture
def trained(run_command, photographs, monkeypatch, tmp_path):
    """Train a network on photographs of cats and dogs, and work in the folder that has it as ``runs``."""
    run_command("pretrain", *SMALL, f"data.path={photographs}")
    monkeypatch.chdir(tmp_path)
    return photographs


def read_csv(path: str) -> dict[str, list[str]]:
    """Return the rows of a file of predictions by their image."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "path" and header[-1] == "error" and all(len(row) == len(header) for row in rows)
    return {row[0]: row[1:] for row in rows}


def test_predict_answers_as_eval_does(trained, run_command):
    run_command("eval", f"data.path={trained}")
    (file,) = Path("runs").glob("eval*/preds.parquet")
    expected = {row["id"]: row["top5"][0] for row in pyarrow.parquet.read_table(file).to_pylist()}
    answers = vitrun.predict(trained / "test", device="cpu")
    assert {os.path.relpath(row["path"], trained / "test"): row["classes"][0] for row in answers} == {
        key: ("cat", "dog")[label] for key, label in expected.items()
    }
    assert all(sum(row["probabilities"]) == pytest.approx(1) for row in answers)


def test_files_of_all_kinds_hold_the_same_predictions_and_name_what_cannot_be_read(trained):
    Path("cut.jpg").write_bytes((trained / "test" / "cat" / "0.jpg").read_bytes()[:200])
    os.mkfifo("pipe.png")
    images = [
        str(trained / "test" / "cat"),
        f"{trained}/test/dog/*.png",
        "a=b.png",
        "a\nb.png",
        "cut.jpg",
        "pipe.png",
        "no.jpg",
    ]
    for name in ("a=b.png", "a\nb.png"):
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(name)
    for name in ("p.csv", "p.jsonl", "p.parquet"):
        done = CommandProcess("predict", *images, f"save={name}", "--quiet")
        done.wait()
        assert done.returncode == 3 and "3 of 11 images cannot be read: cut.jpg, pipe.png, no.jpg" in done.stderr
    rows = pyarrow.parquet.read_table("p.parquet").to_pylist()
    lines = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    table = read_csv("p.csv")
    assert [row["path"] for row in rows] == [line["path"] for line in lines] == list(table)
    assert [row["path"] for row in rows if row["error"]] == ["cut.jpg", "pipe.png", "no.jpg"]
    for row, line in zip(rows, lines):
        assert line.get("classes", []) == row["classes"] == [name for name in table[row["path"]][:-1:2] if name]
        assert line.get("probabilities", []) == pytest.approx(row["probabilities"])
    assert not list(Path().glob(".*.unfinished"))


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_a_killed_command_keeps_whole_rows_and_continues_after_them(trained, name):
    generator = np.random.default_rng(0)
    Path("many").mkdir()
    for number in range(60):
        Image.fromarray(generator.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(f"many/{number:02}.png")
    arguments = ("predict", "many", "batch=2")
    child = CommandProcess(*arguments, f"save={name}")
    limit = time.monotonic() + 60
    while not (Path(name).is_file() and Path(name).stat().st_size > 60) and time.monotonic() < limit:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    begun = Path(name).read_bytes()
    if name.endswith("parquet"):
        assert 0 < pyarrow.parquet.read_table(name).num_rows < 60
    else:
        Path(name).write_bytes(begun + b"many/cut")  # a line that was cut off
    assert "save=" in read_error_line(run_predict(*arguments, f"save={name}", "top=1"), 2)
    continued = run_predict(*arguments, f"save={name}")
    assert continued.returncode == 0 and "continuing: " in continued.stdout
    run_predict(*arguments, f"save=whole-{name}")
    read_file = pyarrow.parquet.read_table if name.endswith("parquet") else Path.read_bytes
    assert read_file(Path(name)) == read_file(Path(f"whole-{name}"))


def run_predict(*arguments: str) -> CommandProcess:
    """Run a command to its end."""
    process = CommandProcess(*arguments)
    process.wait()
    return process


def test_a_pipe_gets_csv_or_json_lines_alone(trained):
    done = run_predict("predict", f"{trained}/test/cat/0.jpg", f"{trained}/test/cat/1.png")
    assert [line.count(",") for line in done.stdout.splitlines()] == [5, 5, 5] and not done.stderr
    done = run_predict("predict", f"{trained}/test/cat/0.jpg", "--json")
    assert json.loads(done.stdout)["classes"]


@pytest.mark.parametrize("names", ["{0}/1.png\n\n{0}/0.jpg\n", "{0}/1.png\0{0}/0.jpg\0", "{0}/1.png\r\n{0}/0.jpg"])
def test_names_of_images_are_read_from_standard_input_by_line_or_separated_by_nul(trained, monkeypatch, names):
    folder = trained / "test" / "cat"
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(names.format(folder).encode())))
    assert [row["path"] for row in vitrun.predict("-")] == [f"{folder}/{name}" for name in ("1.png", "0.jpg")]


def test_a_finished_file_is_named_and_gets_only_images_that_it_lacks(trained, capsys):
    def predict_to_file(*paths: str) -> dict:
        recipe = runner.resolve_recipe("predict", ["save=done.csv"], bare={"paths": paths})
        return predict.execute(recipe, Screen())

    first, second = (f"{trained}/test/cat/{name}" for name in ("0.jpg", "1.png"))
    result = predict_to_file(first)
    content = Path("done.csv").read_bytes()
    capsys.readouterr()
    assert predict_to_file(first) == result == {"images": 1, "path": "done.csv"}
    assert "finished: all 1 images are in done.csv" in capsys.readouterr().out
    assert Path("done.csv").read_bytes() == content
    assert predict_to_file(first, second)["images"] == 2 and Path("done.csv").read_bytes().startswith(content)
    with pytest.raises(UserError, match="already exists, with predictions by other weights or options"):
        predict.execute(
            runner.resolve_recipe("predict", ["save=done.csv", "top=1"], bare={"paths": (first,)}), Screen(quiet=True)
        )


def test_a_line_of_a_narrow_terminal_ends_early_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(predict, "find_width", lambda: 60)
    row = predict.Prediction("a.jpg", ("cat", "dog", "horse"), (0.5, 0.3, 0.2))
    screen = Screen()
    screen.is_terminal = True
    recipe = resolve.resolve_recipe("predict", ["init=random:vit_nano8"])
    with ExitStack() as stack:
        write, _ = predict.choose_output(recipe, {}, prediction_rows.Columns(3), screen, stack)
        write([row, predict.Prediction("b.jpg", error="is damaged")])
    lines = capsys.readouterr().out.splitlines()
    assert "cat" in lines[0] and "dog" not in lines[0] and lines[-1].startswith("Lines end after 1 of top=3 classes")


@pytest.mark.parametrize(
    "arguments, option, status",
    [
        ([], "paths", 2),
        (["x.jpg", "save=no/folder/x.csv"], "save", 2),
        (["empty"], "paths", 3),
        (["x.jpg", "save=x.txt"], "save", 2),
        (["x.jpg", "init=random:vit_nano8"], "init", 2),
        (["x.jpg", "top=0"], "top", 2),
    ],
)
def test_wrong_arguments_are_one_error(trained, arguments, option, status):
    Path("empty").mkdir()
    paths = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    with pytest.raises(UserError) as caught:
        if any(override.startswith("save=") for override in overrides):  # of the command line alone
            predict.execute(
                runner.resolve_recipe("predict", overrides, bare={"paths": tuple(paths)}), Screen(quiet=True)
            )
        vitrun.predict(paths, overrides)
    assert (caught.value.option, caught.value.status) == (option, status)


def test_a_file_that_vitrun_did_not_write_is_not_replaced(trained):
    Path("mine.csv").write_text("mine")
    for force in ("false", "true"):
        done = run_predict("predict", str(trained), "save=mine.csv", f"force={force}")
        assert "mine.csv already exists" in read_error_line(done, 2)
    assert Path("mine.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
@pytest.mark.parametrize("force", [False, True])
def test_a_file_of_a_user_in_place_of_unfinished_predictions_or_their_mark_is_refused(tmp_path, name, force):
    identity, file = {"weights": "a"}, tmp_path / name
    mark = prediction_files.find_mark(file)
    mark.write_text("mine")
    with pytest.raises(UserError, match="move it away"):
        prediction_files.check_prediction_file(file, identity, force)
    for begun in (identity, {"weights": "b"}):
        mark.write_text(json.dumps(begun))
        file.write_text("path,age\nmine,1")
        with pytest.raises(UserError, match="is not what vitrun wrote there"):
            prediction_files.check_prediction_file(file, identity, force)
    assert file.read_text() == "path,age\nmine,1"


@pytest.mark.parametrize("begun", ["", "path,cl"])
def test_a_file_whose_first_line_did_not_fit_on_the_disk_is_begun_again(tmp_path, begun):
    identity, columns, file = {"weights": "a"}, prediction_rows.Columns(1), tmp_path / "p.csv"
    file.write_text(begun)
    prediction_files.find_mark(file).write_text(json.dumps(identity))
    with prediction_files.open_prediction_file(file, columns, identity, False) as (write, done):
        write([prediction_rows.Prediction("a.jpg", ("cat",), (0.5,))])
    assert not done and read_csv(file) == {"a.jpg": ["cat", "0.5", ""]}


def test_a_full_disk_leaves_whole_lines_before_a_last_one_that_is_cut_off(tmp_path):
    class AlmostFull(BytesIO):
        def write(self, content: bytes) -> int:
            if self.tell() > 20:
                raise OSError("full")
            return super().write(content[:8])  # as a raw file does where the disk has no room for more

    file = AlmostFull()
    with pytest.raises(OSError, match="full"):
        prediction_files.write_whole(file, bytes(range(100)))
    assert file.getvalue() == bytes(range(24))


def test_a_disk_that_stays_full_is_one_error_though_the_last_rows_are_tried_again(tmp_path, monkeypatch):
    def write_table(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet, "write_table", write_table)
    columns, file = prediction_rows.Columns(1), tmp_path / "p.parquet"
    with (
        pytest.raises(UserError, match="cannot be written: No space left on device. Make room, and run") as error,
        prediction_files.open_prediction_file(file, columns, {"weights": "a"}, False) as (write, _),
    ):
        write([prediction_rows.Prediction("a.jpg", ("cat",), (0.5,))])
    assert error.value.status == ExitCode.SPACE


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_a_second_process_does_not_write_into_the_same_file_of_predictions(tmp_path, name):
    options = (tmp_path / name, prediction_rows.Columns(1), {"weights": "a"}, False)
    row = prediction_rows.Prediction("a.jpg", ("cat",), (0.5,))
    with prediction_files.open_prediction_file(*options) as (write, _):
        write([row])
        with pytest.raises(UserError, match="another process is writing these predictions"):
            prediction_files.open_prediction_file(*options).__enter__()
    with prediction_files.open_prediction_file(*options) as (_, done):
        assert done == {"a.jpg": True}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".vitrun-outputs.json", name]
