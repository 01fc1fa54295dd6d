"""finetune, from damaged weights."""

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
