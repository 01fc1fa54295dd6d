"""Commits of weights on the Hub: a name without a commit means the same one in all runs of a folder.

The first run that needs a name pins its commit, in ``hub_commits/NAME/commit.json`` in the folder of runs.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError, advise_writing
from vitrun.runtime.files import create_folder_once, read_json

COMMIT_KEY = "weights_commit"  # in about.json
TEACHER_COMMIT_KEY = "teacher_commit"  # there too
COMMIT_HASH = re.compile(r"[0-9a-f]{40}")
COMMITS_FOLDER = "hub_commits"
COMMIT_FILE = "commit.json"
UNPINNED_NAME = re.compile(r"(timm|hf):[A-Za-z0-9._-]{1,96}(/[A-Za-z0-9._-]{1,96})?")


@dataclass(frozen=True)
class PinnedCommit:
    """Commit that ``timm:TAG`` or ``hf:ORG/NAME`` means in a folder of runs."""

    name: str
    commit: str
    since: str  # date and time at which it was pinned
    runs: Path

    @property
    def init(self) -> str:
        """Return the name with its commit."""
        return f"{self.name}@{self.commit}"

    def __str__(self) -> str:
        return (
            f"{self.name} is commit {self.commit} in all runs in {self.runs}, since {self.since}; "
            f"init={self.name}@main is the newest"
        )


def find_commit(name: str, runs: Path) -> PinnedCommit | None:
    """Return the commit that a name means in a folder of runs; None if it is not pinned, or if it has a revision.

    Raise UserError if the file with the commit is damaged.
    """
    if not UNPINNED_NAME.fullmatch(name):
        return None
    file = locate_commit(name, runs) / COMMIT_FILE
    content = read_json(file)
    if content is None:
        return None
    commit, since = content.get("commit"), content.get("since")
    if not isinstance(commit, str) or not COMMIT_HASH.fullmatch(commit) or not isinstance(since, str):
        why = f"{file} is damaged: it has no commit of the Hub. Delete {file.parent}, or give one: init={name}@COMMIT."
        raise UserError(why, ExitCode.CHECKPOINT)
    return PinnedCommit(name, commit, since, runs)


def pin_commit(name: str, commit: str, runs: Path) -> PinnedCommit | None:
    """Pin ``commit`` for a name unless a run has pinned one before; return the commit that is pinned.

    A name with a revision is not pinned, and gives None.
    """
    if not UNPINNED_NAME.fullmatch(name):
        return None
    if pinned := find_commit(name, runs):
        return pinned
    folder, since = locate_commit(name, runs), time.strftime("%Y-%m-%d %H:%M:%S%z")
    try:
        create_folder_once(folder, {COMMIT_FILE: {"name": name, "commit": commit, "since": since}})
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"Cannot write {folder}: {reason}. {advise_writing(error)}.", ExitCode.SPACE) from None
    return find_commit(name, runs)


def locate_commit(name: str, runs: Path) -> Path:
    """Return the folder that pins a name, as ``hub_commits/hf--ORG--NAME``."""
    return runs / COMMITS_FOLDER / re.sub("[:/]", "--", name)


def insert_commit(init: str, about: dict[str, Any], key: str = COMMIT_KEY) -> str:
    """Return ``timm:TAG`` with the commit in the ``about.json`` of a run, if it has one; anything else as it is."""
    name, _, revision = init.partition("@")
    if not init.startswith("timm:") or COMMIT_HASH.fullmatch(revision):
        return init
    commit = about.get(key)
    return f"{name}@{commit}" if isinstance(commit, str) and COMMIT_HASH.fullmatch(commit) else init
