"""The command line in real processes: output and exit status."""

import json
from pathlib import Path

import pytest

import vitrun as package
from helpers.processes import read_error_line
from vitrun.cli.app import COMMAND_HELP
from vitrun.commands import RUN_COMMANDS
from vitrun.config import SINGLE_COMMANDS

FEWSHOT = ["init=random:vit_nano8", "shots=1", "seeds=0", "data.test_images=20"]


def has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists()


def test_help_lists_the_commands(python_m_vitrun):
    done = python_m_vitrun("--help")
    assert done.returncode == 0 and all(command in done.stdout for command in COMMAND_HELP)
    assert "Usage: vitrun " in done.stdout


def test_the_help_of_a_command_has_its_flags_then_its_options_and_fits_100_columns(vitrun):
    done = vitrun("finetune", "--help", "optim.momentum=0.8")
    assert done.returncode == 0 and max(map(len, done.stdout.splitlines())) <= 100
    parts = [done.stdout.find(part) for part in ("Usage:", "--dry-run", "Common options:", "optim.momentum=0.8")]
    assert parts == sorted(parts) and parts[0] >= 0
    assert "Unknown option 'lr'" in read_error_line(vitrun("finetune", "lr=0.1", "--help"), 2)


def test_version_prints_the_version_of_the_package(vitrun):
    done = vitrun("--version")
    assert (done.returncode, done.stdout) == (0, f"vitrun {package.__version__}\n")


@pytest.mark.parametrize("command", COMMAND_HELP)
def test_usage_names_overrides_once_and_flags_without_a_type(command, vitrun):
    done = vitrun(command, "--help")
    usage = {
        "data": "[NAME | KEY=VALUE]...",
        "predict": "[PATH | KEY=VALUE]...",
        "visualize": "[PATH | KEY=VALUE]...",
        "runs": "[rm NAME | KEY=VALUE]...",
    }.get(command, "[KEY=VALUE]...")
    assert f"Usage: vitrun {command} [OPTIONS] {usage}" in done.stdout
    assert "<bool>" not in done.stdout and "<list" not in done.stdout
    assert "--json" in done.stdout and ("--dry-run" in done.stdout) == (command in RUN_COMMANDS)
    assert ("--multirun" in done.stdout) == (command not in SINGLE_COMMANDS)


def test_an_option_unlike_any_other_is_refused_with_the_groups_of_options(vitrun):
    line = read_error_line(vitrun("pretrain", "zzz=1"), 2)
    assert "model.*" in line and "model.width" not in line and len(line) < 500


def test_a_user_error_ends_with_status_2_and_one_line(python_m_vitrun, vitrun, tmp_path):
    assert (
        read_error_line(python_m_vitrun("pretrain", "lr=0.1"), 2)
        == "vitrun pretrain: Unknown option 'lr'. Did you mean optim.lr?\n"
    )
    assert "Write optim.lr=0.1" in read_error_line(vitrun("pretrain", "--lr", "0.1"), 2)
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_an_unknown_command_ends_with_status_2_and_the_nearest(vitrun):
    done = vitrun("pretrian")
    assert done.returncode == 2 and "pretrain" in done.stderr and "Traceback" not in done.stderr


def test_a_missing_path_ends_with_status_3(vitrun, tmp_path):
    assert "there is no folder" in read_error_line(vitrun("pretrain", "data=folder", "data.path=nowhere"), 3)
    assert not list(tmp_path.iterdir())


def test_wrong_weights_end_with_status_4(vitrun, tmp_path):
    assert "no such file" in read_error_line(vitrun("finetune", "init=nothing.safetensors"), 4)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_a_missing_device_ends_with_status_7(vitrun):
    done = vitrun("fewshot", *FEWSHOT, "device=cuda")
    assert "device=cuda: " in read_error_line(done, 7) and "device=cpu" in done.stderr


@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"], ["data=imagenet21k,folder", "-m"]], ids=" ".join)
def test_cfg_shows_a_recipe_without_a_data_path_and_a_run_refuses_it(more, vitrun):
    arguments = ["pretrain", "model=vit_l16", *["data=imagenet21k"] * ("data=imagenet21k,folder" not in more), *more]
    done = vitrun(*arguments, "--cfg")
    assert done.returncode == 0 and "data.path=null" in done.stdout
    assert "dd data.path=FOLDER" in read_error_line(vitrun(*arguments, "--dry-run"), 2)


def test_cfg_prints_overrides_and_runs_nothing(vitrun, tmp_path):
    done = vitrun("pretrain", "--cfg", "seed=3")
    assert done.returncode == 0 and not done.stderr and not list(tmp_path.iterdir())
    lines = {line.split()[0]: line.partition("# ")[2] for line in done.stdout.splitlines()}
    assert lines["seed=3"] == "command line" and lines["batch=128"] == "conf/pretrain.yaml"


def test_characters_that_the_output_cannot_encode_are_replaced(python_m_vitrun):
    done = python_m_vitrun("compare", "paper=table2", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "99.42 ? 0.03" in done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [("compare", "--dry-run"), ("quickstart", "-m", "--dry-run")])
def test_a_flag_that_a_command_does_not_have_is_refused(vitrun, tmp_path, arguments):
    assert (
        f"{arguments[-1]} is for pretrain, finetune, fewshot, eval, dedup, visualize, generate only"
        in read_error_line(vitrun(*arguments), 2)
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [("data", "pets"), ("models", "only=[nano8]"), ("compare", "paper=table8")], ids=" ".join
)
def test_commands_without_runs_print_json_alone(vitrun, tmp_path, arguments):
    done = vitrun(*arguments, "--json")
    assert isinstance(json.loads(done.stdout), dict) and not list(tmp_path.iterdir())


COMPLETIONS = [
    ("vitrun pret", 1, ["pretrain"]),
    ("vitrun pretrain model=vit_na", 2, ["model=vit_nano8"]),
    ("vitrun pretrain model = vit_na", 4, ["vit_nano8"]),  # as bash splits it
    ("vitrun pretrain optim = ", 4, ["adafactor", "adam", "adamw", "rmsprop", "sgd"]),
    ("vitrun finetune optim.lr", 2, ["optim.lr="]),
    ("vitrun pretrain data.flip=t", 2, ["data.flip=true"]),
    ("vitrun pretrain schedule = co", 4, ["cosine", "constant"]),
    ("vitrun eval init=fine", 2, ["init=finetune-x"]),
    ("vitrun eval init = fine", 4, ["finetune-x"]),
    ("vitrun data cifar10 data.path=ru", 3, ["data.path=runs/"]),
    ("vitrun data cif", 2, ["cifar10", "cifar100"]),
    ("vitrun data cifar10 data.pa", 3, ["data.paper=", "data.path="]),
]


@pytest.mark.parametrize("line, position, offered", COMPLETIONS, ids=[line for line, *_ in COMPLETIONS])
def test_completion_in_bash_offers_commands_options_choices_runs_and_paths(vitrun, tmp_path, line, position, offered):
    for file in ("recipe.yaml", "result.json"):
        (tmp_path / "runs/finetune-x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs/finetune-x" / file).write_text("{}")
    done = vitrun(_VITRUN_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(position))
    assert done.stdout.split() == offered, done.stderr


def test_packages_and_modules_of_the_working_folder_are_not_imported(python_m_vitrun, tmp_path):
    for name in ("datasets", "torch", "timm", "random", "typer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit(9)")
    done = python_m_vitrun("models", "only=vit_nano8")
    assert done.returncode == 0, done.stderr
