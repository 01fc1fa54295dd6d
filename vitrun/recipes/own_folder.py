"""The user's own folder of config files, which is searched before vitrun's.

It is the folder that ``VITRUN_CONF`` names, or else ``conf`` in the working folder. Its files lie in folders named as
those of vitrun's ``conf/``: ``model/``, ``data/``, ``protocol/``, ``recipe/`` and so on.
"""

import os
import re
from pathlib import Path

from vitrun.errors import UserError

VARIABLE = "VITRUN_CONF"  # --config-dir sets it too, so that processes that vitrun starts search the same folder
DEFAULT = Path("conf")
PRIMARY = re.compile(r"^defaults:", re.MULTILINE)  # what a file at the top of an application's folder begins with


def find_own_folder(package: Path) -> Path | None:
    """Return the user's folder of config files as an absolute path, or None if there is none.

    A ``conf`` that nobody named, with a defaults list at its top, is the configuration of another Hydra application
    and not searched. An empty ``VITRUN_CONF`` says that there is none.

    Args:
        package: The folder of vitrun's own config files, which is none of the user's.

    Raises:
        UserError: The named folder does not exist, or has a file that would replace one of a command.
    """
    named = os.environ.get(VARIABLE)
    folder = Path(os.path.abspath(Path(named).expanduser() if named else DEFAULT))
    if named == "" or not (folder.is_dir() or named) or (folder.is_dir() and folder.samefile(package)):
        return None
    if named and not folder.is_dir():
        raise UserError(f"--config-dir, or {VARIABLE}: there is no folder {folder}.", option=VARIABLE)
    if named and (commands := {file.name for file in package.glob("*.yaml")} & set(os.listdir(folder))):
        why = (
            f"{folder / min(commands)} would replace vitrun's. Only folders such as model/ are searched: move it away."
        )
        raise UserError(f"--config-dir, or {VARIABLE}: {why}", option=VARIABLE)
    return folder if named or not is_application(folder) else None


def list_flags() -> list[str]:
    """Return the flags that make another command search the folder that was named for this one."""
    return ["--config-dir", os.environ[VARIABLE]] if os.environ.get(VARIABLE) else []


def is_application(folder: Path) -> bool:
    """Return whether a folder has the configuration of a Hydra application: a defaults list in a file at its top."""
    files = (file for file in folder.glob("*.yaml") if file.is_file())
    return any(PRIMARY.search(file.read_text(encoding="utf-8", errors="replace")) for file in files)


def format_path(path: Path) -> str:
    """Return a path as it would be typed in the working folder: ``./conf/model/mine.yaml``, if it lies in it."""
    return f"./{path.relative_to(Path.cwd()).as_posix()}" if path.is_relative_to(Path.cwd()) else str(path)
