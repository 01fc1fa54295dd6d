"""Results of several runs: averaged over seeds, damaged ones named and left out."""

import numpy as np
import pytest

from helpers.runs import pretrain_tiny
from vitrun.commands import compare
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import results
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


def test_compare_averages_over_seeds_only(run_command, tmp_path):
    common = ("init=random:vit_nano8", "res=32", "epochs=null", "steps=2", "warmup=0", "data.test_images=40")
    top1 = [run_command("finetune", *common, f"seed={seed}")[1]["top1"] for seed in (0, 1)]
    run_command("finetune", *common, "optim.lr=0.001")
    cells = results.tabulate(
        results.load_finished_runs(tmp_path / "runs", ("finetune",), pytest.fail),
        ("data",),
        ("model", "upstream"),
        ("top1",),
    )
    cells = {cell.column[-1]: cell for cell in cells}
    assert len(cells) == 2 and cells.keys() >= {"optim.lr=0.001"}
    both = next(cell for column, cell in cells.items() if column != "optim.lr=0.001")
    assert both.mean == pytest.approx(np.mean(top1)) and both.std == pytest.approx(np.std(top1, ddof=1))
    assert len(both.runs) == 2
