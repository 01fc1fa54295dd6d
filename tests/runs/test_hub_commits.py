"""Commits of names on the Hub: one for all runs in a folder, whichever run needs it first."""

import json
import os
from pathlib import Path

import pytest

from helpers.forks import start_fork
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import hub_commits

OLD, NEW = "0" * 40, "1" * 40
NAME = "hf:vit/tiny"


@pytest.fixture
def push(tmp_path, monkeypatch):
    """Return a function that moves the repository to a commit, in the cache of the Hub's client, which is offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "hub" / "models--vit--tiny"

    def push(commit: str) -> None:
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / "main").write_text(commit)
        (place / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (place / "snapshots" / commit / "config.json").write_text('{"model_type": "vit", "image_size": 32}')

    return push


def resolve_eval(runs: Path, init: str = NAME, pinning: bool = True) -> str:
    return resolve.resolve_recipe("eval", [f"init={init}", "data=shapes", f"runs={runs}"], pinning=pinning).init


def test_a_name_is_one_commit_in_a_folder_of_runs_although_somebody_pushes(push, tmp_path):
    runs = tmp_path / "runs"
    push(OLD)
    assert resolve_eval(runs, pinning=False) == f"{NAME}@{OLD}" and not runs.exists(), "a dry run writes nothing"
    assert resolve_eval(runs, f"{NAME}@{OLD}") == f"{NAME}@{OLD}"
    assert hub_commits.find_commit(NAME, runs) is None, "a commit that is given is pinned for nobody"
    assert resolve_eval(runs) == f"{NAME}@{OLD}"
    push(NEW)
    assert resolve_eval(runs) == resolve_eval(runs, pinning=False) == f"{NAME}@{OLD}"
    assert resolve_eval(runs, f"{NAME}@main") == resolve_eval(tmp_path / "others") == f"{NAME}@{NEW}"
    assert f"{NAME} is commit {OLD} in all runs in {runs}" in str(hub_commits.find_commit(NAME, runs))


def test_the_run_that_pins_second_takes_what_the_first_pinned(push, tmp_path, monkeypatch):
    push(NEW)
    add = resolve.init_resolution.add_hub_commit

    def add_while_another_pins(init, runs, option):
        resolved = add(init, runs, option)
        hub_commits.pin_commit(NAME, OLD, runs)
        return resolved

    push(OLD)
    push(NEW)
    monkeypatch.setattr(resolve.init_resolution, "add_hub_commit", add_while_another_pins)
    assert resolve_eval(tmp_path) == f"{NAME}@{OLD}"


def test_processes_that_pin_at_once_agree_and_leave_nothing_behind(tmp_path):
    commits = [f"{number}" * 40 for number in range(8)]
    runs = tmp_path / "runs"

    def pin(commit):
        print(hub_commits.pin_commit(NAME, commit, runs).commit)

    forks = [start_fork(tmp_path / commit, pin, commit) for commit in commits]
    assert all(os.waitpid(fork, 0)[1] == 0 for fork in forks)
    (found,) = {(tmp_path / commit).read_text().strip() for commit in commits}
    assert found in commits
    assert [path.name for path in (runs / "hub_commits").iterdir()] == ["hf--vit--tiny"]


def test_a_damaged_pin_is_an_error_that_names_the_file(tmp_path):
    hub_commits.pin_commit(NAME, OLD, tmp_path)
    (file,) = (tmp_path / "hub_commits").rglob("*.json")
    for content in ("{", "[]", json.dumps({"commit": "main"}), json.dumps({"commit": OLD})):
        file.write_text(content)
        with pytest.raises(UserError, match=str(file)) as error:
            hub_commits.find_commit(NAME, tmp_path)
        assert error.value.status == ExitCode.CHECKPOINT
