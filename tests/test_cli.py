"""The command line as a person meets it: real processes, what they print, how they end."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vitrun import grammar, jobs, run, start, sweep
from vitrun.cli import RUNNING, VERBS
from vitrun.mistakes import Mistake
from vitrun.screen import Screen

TINY = ["init=random:vit_nano8", "shots=1", "seeds=0", "data.test_images=20"]
# What the installed `vitrun` runs, so that these tests need no installation.
SCRIPT = "import sys; sys.argv[0] = 'vitrun'; from vitrun.cli import app; app()"


@pytest.fixture
def vitrun(tmp_path):
    """Runs ``python -m vitrun`` in an empty folder."""

    def vitrun(*words: str, script: bool = False, **environment: str) -> subprocess.CompletedProcess:
        paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        settings = os.environ | {"PYTHONPATH": paths, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
        start = [sys.executable, *(["-c", SCRIPT] if script else ["-m", "vitrun"])]
        return subprocess.run(
            [*start, *words], cwd=tmp_path, env=settings | environment, capture_output=True, text=True
        )

    return vitrun


def told(done: subprocess.CompletedProcess, status: int) -> str:
    """The one line on standard error with which a command ended."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists()


def test_help_lists_the_verbs(vitrun):
    done = vitrun("--help")
    assert done.returncode == 0 and all(verb in done.stdout for verb in VERBS)
    assert "Usage: vitrun " in done.stdout


def test_the_help_of_a_verb_lists_its_options_and_their_choices(vitrun):
    done = vitrun("finetune", "--help")
    assert done.returncode == 0
    for expected in (
        "--cfg",
        "--dry-run",
        "init=latest",
        "optim.momentum=0.9",
        "Choices of data=:",
        "Choices of optim=:",
        "cosine | linear | staircase | constant",
        "Options that other choices have:",
        "data.path=",
    ):
        assert expected in done.stdout
    assert "cifar100" in done.stdout and "CIFAR-100 (Krizhevsky 2009)" in done.stdout


def test_a_mistake_ends_with_status_2_and_one_line(vitrun, tmp_path):
    assert told(vitrun("pretrain", "lr=0.1"), 2) == "vitrun pretrain: No option 'lr'. Did you mean optim.lr?\n"
    assert "Write optim.lr=0.1" in told(vitrun("pretrain", "--lr", "0.1"), 2)
    assert not list(tmp_path.iterdir()), "and nothing was written"


def test_an_unknown_verb_ends_with_status_2_and_the_nearest(vitrun):
    done = vitrun("pretrian")
    assert done.returncode == 2 and "pretrain" in done.stderr and "Traceback" not in done.stderr


def test_a_missing_path_ends_with_status_3(vitrun, tmp_path):
    assert "there is no folder" in told(vitrun("pretrain", "data=folder", "data.path=nowhere"), 3)
    assert not list(tmp_path.iterdir())


def test_wrong_weights_end_with_status_4(vitrun, tmp_path):
    assert "there is no file" in told(vitrun("finetune", "init=nothing.safetensors"), 4)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_a_device_that_is_not_there_ends_with_status_7(vitrun):
    done = vitrun("fewshot", *TINY, "device=cuda")
    assert "device=cuda: " in told(done, 7) and "device=cpu" in done.stderr


@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"], ["data=imagenet21k,folder", "-m"]], ids=" ".join)
def test_cfg_looks_at_a_recipe_whose_images_are_nowhere_and_a_run_does_not(more, vitrun):
    words = ["pretrain", "model=vit_l16", *["data=imagenet21k"] * ("data=imagenet21k,folder" not in more), *more]
    done = vitrun(*words, "--cfg")
    assert done.returncode == 0 and "data.path=null" in done.stdout
    assert "dd data.path=FOLDER" in told(vitrun(*words, "--dry-run"), 2)


def test_cfg_prints_words_and_runs_nothing(vitrun, tmp_path):
    done = vitrun("pretrain", "--cfg", "seed=3")
    assert done.returncode == 0 and not done.stderr and not list(tmp_path.iterdir())
    lines = {line.split()[0]: line.partition("# ")[2] for line in done.stdout.splitlines()}
    assert lines["seed=3"] == "command line" and lines["batch=128"] == "conf/pretrain.yaml"


def test_a_module_in_the_folder_at_hand_is_not_run_by_a_job(monkeypatch, tmp_path):
    (tmp_path / "statistics.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert jobs.carry_out("compare", [], silent=True) == 0


def test_a_stream_without_a_sign_shows_another(vitrun):
    done = vitrun("compare", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "99.42 ? 0.03" in done.stdout, done.stderr


@pytest.mark.parametrize("words", [("compare", "--dry-run"), ("data", "--json"), ("quickstart", "-m", "--dry-run")])
def test_a_flag_that_a_verb_cannot_follow_is_refused(vitrun, tmp_path, words):
    assert f"{words[-1]} is for pretrain, finetune, fewshot, eval, dedup only" in told(vitrun(*words), 2)
    assert not list(tmp_path.iterdir())


def test_a_sweep_is_checked_before_its_first_job(vitrun, tmp_path):
    assert "seed=x cannot be" in told(vitrun("pretrain", "-m", "seed=0,x"), 2)
    assert not list(tmp_path.iterdir())


def test_a_failed_job_is_named_at_the_end_and_stops_no_other(vitrun, tmp_path):
    # Damaged weights are found when the job reads them: this is their test too, since a process costs seconds.
    (tmp_path / "half.safetensors").write_bytes(b"\x00" * 7)
    done = vitrun("fewshot", "-m", *TINY[1:], "res=32", "init=half.safetensors,random:vit_nano8", "--json")
    lines = done.stderr.splitlines()
    assert done.returncode == 4 and "Traceback" not in done.stderr
    assert lines[0].startswith("job 1/2: fewshot ") and lines[0].endswith("init=half.safetensors")
    assert "half.safetensors: this is no whole .safetensors file" in lines[1]
    assert any(line.startswith("job 2/2: fewshot ") and line.endswith("init=random:vit_nano8") for line in lines)
    assert lines[-1].startswith("failed with exit status 4: vitrun fewshot ")
    assert lines[-1].endswith("init=half.safetensors")
    (folder,) = (path.parent for path in (tmp_path / "runs").glob("fewshot-*/result.json"))
    found = json.loads(done.stdout)
    assert found["run"] == folder.name and 0 < found["shot1"] < 1


SAME = [
    ("pretrain", "epochs=1,1.0", "epochs=1 and epochs=1.0 are the same run, pretrain-vit_nano8-shapes-"),
    ("pretrain", "device=cpu,auto", "device=cpu and device=auto are the same run"),
    ("pretrain", "model=vit_nano8,vit_s16 model.depth=12 model.width=384 model.heads=6", None),
    ("finetune", "init=random:vit_nano8 grid=[0.1,0.2],[0.1,0.20] dev=0.1", "grid=[0.1,0.2] and grid=[0.1,0.20] are"),
    ("models", "res=32,032", "res=32 and res=032 are the same job"),
]


@pytest.mark.parametrize("verb, words, said", SAME, ids=[words for _, words, _ in SAME])
def test_two_jobs_that_are_the_same_are_refused_with_the_words_that_tell_them_apart(verb, words, said):
    combinations = grammar.expand(verb, words.split())
    recipes = [start.load(verb, job) for job in combinations]
    if said is None:
        assert len(set(sweep.distinct(verb, combinations, recipes, verb in RUNNING))) == len(combinations)
        return
    with pytest.raises(Mistake, match=re.escape(said)) as error:
        sweep.distinct(verb, combinations, recipes, verb in RUNNING)
    assert error.value.status == 2


def test_ctrl_c_stops_a_sweep_which_names_what_failed_and_leaves_the_job_to_go_on(tmp_path):
    words = ["data.train_images=64", "data.test_images=20", "batch=8", "steps=2000", "warmup=1"]
    name = run.name("pretrain", start.load("pretrain", [*words, "optim.lr=0.001"]))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vitrun", "pretrain", "-m", *words, "optim.lr=1e30,0.001"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, text=True, stderr=subprocess.PIPE
    )
    metrics = tmp_path / "runs" / name / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and '"step"' in metrics.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate()[1]
    assert process.returncode == 130 and "Traceback" not in told
    assert "Stopped at job 2 of 2. The same command goes on." in told
    assert any((metrics.parent / "checkpoints").iterdir()), "what it had done is saved"
    failed, log = told.splitlines()[-1].removesuffix(")").split(" (its log is in ")
    assert failed.startswith("failed with exit status 5: vitrun pretrain ") and failed.endswith("optim.lr=1e30")
    assert "stopped: Step " in (tmp_path / log / "log.txt").read_text()


def test_ctrl_c_that_comes_too_late_for_a_job_ends_what_follows():
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))  # reaches this process, and not the job
    timer.start()
    assert jobs.carry_out("models", ["only=vit_nano8"], silent=True) == 130
    timer.join()
    assert jobs.carry_out("models", ["ony=vit_nano8"], silent=True) == 2


WORDS = [
    ("vitrun pre", 1, ["pretrain"]),
    ("vitrun pretrain model=vit_na", 2, ["model=vit_nano8"]),
    ("vitrun pretrain model = vit_na", 4, ["vit_nano8"]),  # as bash itself cuts it
    ("vitrun pretrain optim = ", 4, ["adam", "adamw", "sgd"]),
    ("vitrun finetune optim.l", 2, ["optim.lr="]),
    ("vitrun data cif", 2, ["cifar10", "cifar100"]),
    ("vitrun data cifar10 data.pa", 3, ["data.paper=", "data.path="]),
]


@pytest.mark.parametrize("line, place, offered", WORDS, ids=[line for line, *_ in WORDS])
def test_completion_in_bash_offers_verbs_options_and_choices(vitrun, line, place, offered):
    done = vitrun(script=True, _VITRUN_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(place))
    assert done.stdout.split() == offered, done.stderr


def test_the_weights_of_a_sweep_are_those_of_its_start(monkeypatch, tmp_path):
    names = iter(["pretrain-a-b-1", "pretrain-a-b-1"])
    monkeypatch.setattr("vitrun.init.latest", lambda runs, verb: next(names))  # a third would be another's
    asked = []
    monkeypatch.setattr(jobs, "carry_out", lambda verb, words: asked.append(words) or 0)
    words = ["seed=0,1", "data=digits", f"runs={tmp_path}"]
    assert sweep.carry_out("finetune", words, False, ["--quiet"], True) == 0
    assert asked == [[f"seed={n}", *words[1:], "init=pretrain-a-b-1", "--quiet"] for n in (0, 1)]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_how_far_a_run_is_can_be_read_on_any_terminal(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    screen.terminal = True
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    with screen.progress("pretrain", 1500) as bar:
        bar.update(29, "12 min left  loss 1.237  lr 1.35e-05  1,102 images/s  waiting 0.3%")
        bar.bar.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    assert "pretrain 29/1500 12 min left" in re.sub(r"[ \u2501\u2578\u257a]+", " ", shown)
