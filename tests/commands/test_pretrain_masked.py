"""pretrain on masked patches: other commands use the run."""

import pytest

from helpers.masked import COLOUR_OBJECTIVE
from helpers.overrides import TINY
from vitrun.commands import export
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.runs import run
from vitrun.runtime.console import Screen

MASKED_RUNS = [
    ("objective=masked",),
    ("objective=masked", "objective.target=pixels", "model.head=map"),
    ("objective=simmim", "model.head=gap", "model.pre_logits=true"),
]


@pytest.mark.parametrize("overrides", MASKED_RUNS)
def test_a_network_pretrained_on_masked_patches_is_fine_tuned_like_any_other(run_command, tmp_path, overrides):
    recipe, result = run_command("pretrain", *TINY, *overrides)
    assert result["masked_loss"] > 0 and "top1" not in result
    assert ("colour_accuracy" in result) == (recipe.objective == COLOUR_OBJECTIVE)
    name = run.run_name("pretrain", recipe)
    tuned, result = run_command("finetune", "steps=3", "epochs=null", "batch=32", "warmup=1", "data.test_images=40")
    assert tuned.init == name and 0 <= result["top1"] <= 1
    log = (tmp_path / "runs" / run.run_name("finetune", tuned) / "log.txt").read_text()
    assert "mask token (1)" in log and "decoder of patches (2)" in log and "head of no classes" in log
    with pytest.raises(UserError, match="trained without labels and has no head: fine-tune it first"):
        run_command("eval", f"init={name}")
    if overrides == ("objective=masked",):
        run_command("fewshot", f"init={name}", "shots=1", "seeds=0", "data.test_images=40")
        path, runs = tmp_path / "exported.npz", f"runs={tmp_path / 'runs'}"
        export.execute(resolve.resolve_recipe("export", [f"init={name}", "to=npz", f"path={path}", runs]), Screen())
        run_command("finetune", f"init={path}", "steps=1", "epochs=null", "warmup=0", "batch=8", "data.test_images=40")


def test_a_dry_run_of_masked_patches_estimates_its_time(run_command):
    _, result = run_command("pretrain", *TINY, "objective=masked", dry=True)
    assert result["hours"] > 0
