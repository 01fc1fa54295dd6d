"""Runs without weights of their own: why, and which runs have them."""

from pathlib import Path

from vitrun.errors import ExitCode, UserError
from vitrun.runs.run_files import CHECKPOINTS_FOLDER, load_recipe, load_result


def check_weights(folder: Path, option: str, init: str) -> None:
    """Raise a UserError about ``option`` if the finished run in ``folder``, which ``init`` names, never had weights."""
    had_weights = load_recipe(folder)["command"] in ("pretrain", "finetune") and not list_parts(folder)
    if not had_weights and not (folder / CHECKPOINTS_FOLDER).is_dir():
        raise UserError(explain_no_weights(folder), ExitCode.CHECKPOINT, option, init)


def list_parts(folder: Path) -> list[str]:
    """Return the runs that a run of ``rounds``, ``seeds`` or a ``grid`` is made of; none of any other run."""
    result = load_result(folder) or {}
    parts = [result.get(key) for key in ("rounds", "finals")]
    rows = [row for part in parts if isinstance(part, list) for row in part]
    return [str(row["run"]) for row in rows if isinstance(row, dict) and "run" in row]


def explain_no_weights(folder: Path) -> str:
    """Return why a run has no weights, and which runs have some."""
    recipe = load_recipe(folder)
    command, runs = recipe["command"], list_parts(folder)
    if runs:
        others = f", {runs[-2]}" if len(runs) > 1 else ""
        return f"is made of several runs and has no weights of its own: choose one of them, as {runs[-1]}{others}."
    if command in ("pretrain", "finetune"):
        why = "this run has no weights: its checkpoints are gone, or it was made of several runs, which its log names."
        return f"{why} Choose another."
    source = recipe.get("init")
    others = f"choose another run, as {source}, whose weights it read" if source else "choose a run of another command"
    extra = " Of fewshot those of probe=linear layers=last have some." if command == "fewshot" else ""
    return f"a run of vitrun {command} has no weights: {others}.{extra}"
