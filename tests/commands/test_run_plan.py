"""A run is planned for devices elsewhere: without data, weights or a device here."""

import pytest

from vitrun.commands import runner
from vitrun.errors import UserError
from vitrun.recipes import tables
from vitrun.recipes.accelerator import Accelerator, parse_devices
from vitrun.runtime.console import Screen

GIGANTIC = ["protocol=scaling_vit", "model=vit_gigantic14", "data=jft300m", "data.classes=29593"]


def plan(command: str, *overrides: str) -> dict:
    """Return what a dry run says."""
    recipe = runner.resolve_recipe(command, list(overrides))
    return runner.execute_recipe(command, list(overrides), recipe, Screen(quiet=True), dry=True)


def test_vit_g_fits_into_80_gb(tmp_path):
    few = plan("pretrain", *GIGANTIC, "on=h100x8", f"runs={tmp_path / 'runs'}")
    assert few["fits"] and 40 < few["memory_gb"] < 80
    assert few["hours"] * 8 / 24 == pytest.approx(few["device_days"])
    assert few["exaflop"] == pytest.approx(6 * 483.3e9 * 16_384 * 1e6 / 1e18, rel=0.01)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("model, exaflop", [("vit_b16", 224)])
def test_the_exaflop_of_a_plan_are_those_of_table_6(model, exaflop):
    overrides = ["data=jft300m", "data.classes=18291", "data.train_images=303_000_000", f"model={model}"]
    assert plan("pretrain", *overrides, "on=tpuv3x256")["exaflop"] == pytest.approx(exaflop, rel=0.01)


def test_a_run_that_fits_nowhere_says_so_and_one_that_is_sharded_fits():
    small = ["data=jft300m", "data.classes=29593", "model=vit_giant14", "steps=9", "res=224", "warmup=1"]
    common = [*small, "protocol=small", "optim=adamw", "ema=0.9"]
    assert not plan("pretrain", *common, "on=tpuv5ex1")["fits"]
    sharded = plan("pretrain", *common, "on=tpuv5ex64")
    assert sharded["fits"] and sharded["setting"].startswith("sharded")


def test_fine_tuning_is_planned_by_the_model_of_its_weights():
    result = plan("finetune", "init=random:vit_nano8", "data=digits", "res=32", "on=a100")
    assert result["fits"] and result["hours"] > 0


def test_fine_tuning_of_a_clip_is_planned_by_its_image_tower_and_a_detector_is_refused_without_boxes():
    of_clip = plan("finetune", "init=random:clip_nano", "data=digits", "res=32", "on=a100")
    of_vit = plan("finetune", "init=random:vit_nano8", "data=digits", "res=32", "on=a100")
    assert of_clip["exaflop"] == pytest.approx(of_vit["exaflop"], rel=0.01)
    with pytest.raises(UserError, match="finds objects"):
        plan("finetune", "init=random:yolos_nano", "data=digits", "res=32", "on=a100")


@pytest.mark.parametrize("override", ["on=h10x8", "on=h100x0", "on=h100xx", "on=x8"])
def test_unknown_devices_are_refused(override):
    with pytest.raises(UserError) as error:
        plan("pretrain", override)
    assert error.value.option == "on" and len(str(error.value)) < 400


def test_a_plan_is_only_a_dry_run():
    recipe = runner.resolve_recipe("pretrain", ["on=h100x8"])
    with pytest.raises(UserError, match="--dry-run"):
        runner.execute_recipe("pretrain", ["on=h100x8"], recipe, Screen(quiet=True), dry=False)


def test_every_accelerator_has_a_source():
    rows, errors = tables.load_rows("accelerator", Accelerator)
    assert not errors and all(row.source for row in rows.values())
    assert parse_devices("h100x8") == (rows["h100"], 8)
