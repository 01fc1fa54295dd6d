"""Progress on terminals of any width, and output that cannot be written."""

import json
import os
import re
import subprocess
import sys
from io import TextIOWrapper

import pytest
import typer

from helpers.overrides import TINY
from vitrun.cli import dispatch
from vitrun.errors import ExitCode
from vitrun.runtime import files, text_tables
from vitrun.runtime.console import Screen
from vitrun.runtime.text_format import format_json
from vitrun.runtime.text_tables import split_table


@pytest.mark.parametrize("width", [40, 80, 200])
def test_progress_is_readable_on_a_terminal_of_any_width(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    screen.is_terminal = True
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    with screen.progress("pretrain", 1500) as bar:
        bar.update(29, "12 min left  loss 1.237  lr 1.35e-05  1,102 images/s  waiting 0.3%")
        bar.bar.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    assert "pretrain 29/1500 12 min left" in re.sub(r"[ \u2501\u2578\u257a]+", " ", shown)


def test_training_continues_when_its_output_is_closed(tmp_path):
    overrides = [*TINY, f"runs={tmp_path / 'runs'}"]
    process = subprocess.Popen([sys.executable, "-m", "vitrun", "pretrain", *overrides], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(120) == 0
    (folder,) = (tmp_path / "runs").glob("pretrain-*")
    assert files.read_json(folder / "result.json")["result"]["steps"] == 6


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_result_that_cannot_be_printed_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "vitrun", "data"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == ExitCode.SPACE and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_json_is_valid_with_numbers_that_are_not_finite():
    text = format_json({"loss": float("nan"), "finals": [{"top1": 0.5}, {"top1": float("inf")}]})

    def refuse(constant):
        raise AssertionError(constant)

    result = json.loads(text, parse_constant=refuse)
    assert result["loss"] is None and result["finals"][0]["top1"] == 0.5
    assert result["not_finite"] == {"loss": "nan", "finals.1.top1": "inf"}


def test_a_wide_table_is_split_into_tables_with_the_first_column():
    text = split_table(["row", "a", "b", "c"], [["x", "1" * 9, "2" * 9, "3" * 9], ["y", "1", "", ""]], 32)
    first, second = text.split("\n\n")
    assert all(len(line) <= 32 for line in text.splitlines()) and "| x" in first and "| x" in second
    assert "1" in first and "2" in first and "3" in second and "| y" not in second


def test_control_characters_of_a_name_do_not_reach_the_terminal(capsys):
    Screen().print("ä ± \x1b[31mred\x07\tend\u00a0\n")
    assert capsys.readouterr().out == "ä ± \\x1b[31mred\\x07\tend\u00a0\n\n"


def test_a_full_disk_under_standard_error_changes_no_exit_code(monkeypatch):
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stderr", TextIOWrapper(full, write_through=True))
        Screen().warn("this line is lost")
        with pytest.raises(typer.Exit) as end:
            dispatch.execute_command("pretrain", ["batch=x"], dispatch.Flags())
    assert end.value.exit_code == ExitCode.COMMAND


def test_a_table_on_a_terminal_has_colours_of_its_own_and_none_of_its_cells(monkeypatch, capsys):
    monkeypatch.setattr(text_tables, "is_terminal", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    Screen().print_table(["run", "top-1"], [["a\x1b[31m|b\n", "98.00"]], 1, "shapes")
    out = capsys.readouterr().out
    assert out.startswith("\x1b[1mshapes\x1b[0m\n") and "\x1b[31m" not in out and "\\x1b[31m|b\\n" in out
    monkeypatch.setattr(text_tables, "is_terminal", lambda: False)
    Screen().print_table(["run", "top-1"], [["a|b", "98.00"]], 1, "shapes")
    assert capsys.readouterr().out.splitlines()[::2] == ["### shapes", "| run  | top-1 |", "| a\\|b | 98.00 |"]
