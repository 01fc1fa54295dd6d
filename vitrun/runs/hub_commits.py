"""Commits of weights from the Hub: a tag of timm names the newest, and all runs in a folder are to have the same."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from vitrun.errors import UserError
from vitrun.runs.run_files import find_runs, load_about

COMMIT_KEY = "weights_commit"  # in about.json
COMMIT_HASH = re.compile(r"[0-9a-f]{40}")


def pin_commit(init: str, about: dict[str, Any]) -> str | None:
    """Return ``timm:TAG@COMMIT`` with the commit in the ``about.json`` of a run of ``timm:TAG``; None without one."""
    commit = about.get(COMMIT_KEY)
    is_tag = init.startswith("timm:") and "@" not in init
    return f"{init}@{commit}" if is_tag and isinstance(commit, str) and COMMIT_HASH.fullmatch(commit) else None


def find_commit(init: str, runs: Path) -> tuple[str, str] | None:
    """Return ``timm:TAG@COMMIT`` as a run in a folder has it, and the name of that run; None if there is none."""
    if not init.startswith("timm:") or "@" in init:
        return None
    for folder in find_runs(runs):
        with suppress(UserError):  # a damaged file
            about = load_about(folder)
            if about.get("weights") == init and (pinned := pin_commit(init, about)):
                return pinned, folder.name
    return None
