"""What a damaged file beside a run costs: one sentence that names it, or no more than the time to make it again."""

import os
import subprocess
import sys

import pytest
from conftest import TINY
from safetensors.torch import load_file

from vitrun import checkpoints, compare, run, start
from vitrun.mistakes import Exit, Mistake
from vitrun.screen import Screen


def finished(carry_out, *words: str):
    """The folder of a finished run."""
    recipe, _ = carry_out("pretrain", *TINY, *words)
    return recipe.runs / run.name("pretrain", recipe)


@pytest.mark.parametrize("file, content", [("result.json", ""), ("result.json", "[]"), ("recipe.yaml", "a: [b")])
def test_a_damaged_run_is_named_and_other_runs_are_compared_without_it(carry_out, tmp_path, capsys, file, content):
    bad, _ = finished(carry_out), finished(carry_out, "seed=1")
    (bad / file).write_text(content)
    with pytest.raises(Mistake, match=f"{file} is damaged") as error:
        carry_out("finetune", f"init={bad.name}", "steps=1")
    assert error.value.status == Exit.CHECKPOINT
    words = [f"runs={tmp_path / 'runs'}", f"save={tmp_path / 'table'}", "verbs=pretrain", "paper=none"]
    compare.main(start.load("compare", words), Screen())
    shown = capsys.readouterr()
    assert f"left out: {bad.name}" in shown.err and "shapes" in shown.out


def test_a_byte_that_is_no_text_in_the_metrics_is_passed_over(carry_out):
    folder = finished(carry_out)
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(b"\xff\xfe\n")
    (folder / "result.json").unlink()
    assert "top1" in carry_out("pretrain", *TINY)[1]


def test_damaged_features_are_made_again(carry_out, tmp_path):
    finished(carry_out)
    words = ["data=digits", "shots=1"]
    carry_out("fewshot", *words, "seeds=0")
    files = sorted((tmp_path / "runs" / "features").iterdir())
    for file in files:
        os.truncate(file, 30)
    carry_out("fewshot", *words, "seeds=0,1")
    assert files and all(load_file(file) for file in files)


def test_a_rehearsal_leaves_a_damaged_checkpoint_where_it_is(carry_out):
    folder = finished(carry_out)
    manifest = next((folder / "checkpoints").glob("step-*")) / "MANIFEST.json"
    manifest.write_text("{")
    with pytest.raises(Mistake, match="No checkpoint in .* is sound"):
        carry_out("finetune", f"init={folder.name}", "steps=1", dry=True)
    assert manifest.exists()


def test_training_goes_on_when_nobody_reads_what_it_prints(tmp_path):
    words = [*TINY, f"runs={tmp_path / 'runs'}"]
    process = subprocess.Popen([sys.executable, "-m", "vitrun", "pretrain", *words], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(120) == 0
    (folder,) = (tmp_path / "runs").glob("pretrain-*")
    assert checkpoints.read_json(folder / "result.json")["result"]["steps"] == 6


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_result_that_cannot_be_printed_is_no_success():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "vitrun", "data"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == Exit.SPACE and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_a_run_of_another_folder_is_told_how_to_be_named(carry_out, tmp_path):
    folder = finished(carry_out)
    with pytest.raises(Mistake) as error:
        start.load("finetune", [f"init={folder}", f"runs={tmp_path / 'elsewhere'}"])
    assert f"runs={folder.parent} init={folder.name}" in str(error.value)


def test_features_with_a_flipped_bit_are_made_again_and_all_may_read_them(carry_out, tmp_path):
    words = ["fewshot", "init=random:vit_nano8", "res=32", "data.test_images=1700"]
    _, first = carry_out(*words, "shots=1")
    files = sorted((tmp_path / "runs" / "features").iterdir())
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o666 & ~umask()
        content = bytearray(file.read_bytes())
        content[-100] ^= 64
        file.write_bytes(content)
    _, second = carry_out(*words, "shots=1,2")
    assert second["shot1"] == first["shot1"]


def umask() -> int:
    os.umask(now := os.umask(0))
    return now


def test_a_probe_whose_line_could_not_be_written_is_in_the_result_all_the_same(carry_out, monkeypatch):
    monkeypatch.setattr(run.Run, "append", lambda self, file, line: None)
    _, found = carry_out("pretrain", *TINY, "fewshot.every=50%", "fewshot.data=[digits]", "fewshot.shots=[1]")
    assert 0 < found["fewshot_digits_1"] < 1
