"""Results of several runs: averaged over seeds, damaged ones named and left out."""

import pytest

from helpers.runs import pretrain_tiny
from vitrun.commands import compare
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen


@pytest.mark.parametrize("file, content", [("result.json", ""), ("result.json", "[]"), ("recipe.yaml", "a: [b")])
def test_a_damaged_run_is_named_and_other_runs_are_compared_without_it(run_command, tmp_path, capsys, file, content):
    bad, _ = pretrain_tiny(run_command), pretrain_tiny(run_command, "seed=1")
    (bad / file).write_text(content)
    with pytest.raises(UserError, match=f"{file} is damaged") as error:
        run_command("finetune", f"init={bad.name}", "steps=1")
    assert error.value.status == ExitCode.CHECKPOINT
    overrides = [f"runs={tmp_path / 'runs'}", f"save={tmp_path / 'table'}", "commands=pretrain", "paper=none"]
    compare.execute(resolve.resolve_recipe("compare", overrides), Screen())
    shown = capsys.readouterr()
    assert f"left out: {bad.name}" in shown.err and "shapes" in shown.out
