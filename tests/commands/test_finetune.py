"""finetune, from damaged weights and from weights whose head is kept."""

import pytest

from helpers.runs import pretrain_tiny
from vitrun.errors import UserError


def test_a_dry_run_does_not_move_a_damaged_checkpoint(run_command):
    folder = pretrain_tiny(run_command)
    manifest = next((folder / "checkpoints").glob("step-*")) / "MANIFEST.json"
    manifest.write_text("{")
    with pytest.raises(UserError, match="No checkpoint in .* is sound"):
        run_command("finetune", f"init={folder.name}", "steps=1", dry=True)
    assert manifest.exists()


def test_a_head_that_is_kept_goes_on_from_where_it_was_and_needs_the_same_classes(run_command):
    folder = pretrain_tiny(run_command)
    still = ["data=shapes", "data.train_images=96", "data.test_images=50", "steps=1", "warmup=0", "optim.lr=1e-9"]
    _, before = run_command("eval", f"init={folder.name}")
    _, kept = run_command("finetune", f"init={folder.name}", "head=keep", "res=32", *still)
    assert (kept["top1"], kept["loss"]) == (before["top1"], pytest.approx(before["loss"], rel=1e-5))
    with pytest.raises(
        UserError, match="needs the 10 classes of digits, and the head of .* has 120: it lacks 0"
    ) as error:
        run_command("finetune", f"init={folder.name}", "head=keep", "data=digits", "steps=1")
    assert error.value.option == "head"
