"""A detector is refused with one sentence by what needs a network that sees whole images."""

import pytest

from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.export import export_model
from vitrun.recipes import tables

WHOLE_IMAGES = {
    "finetune": ("data.test_images=20", "steps=2"),
    "fewshot": ("data=digits", "shots=1", "seeds=0"),
    "eval": ("data=digits", "data.test_images=20"),
    "visualize": ("data=digits", "data.test_images=20"),
}


@pytest.mark.parametrize("command", WHOLE_IMAGES)
def test_a_command_that_needs_a_whole_image_refuses_a_detector(run_command, command):
    with pytest.raises(UserError, match="finds objects") as raised:
        run_command(command, "init=random:yolos_nano", "res=32", *WHOLE_IMAGES[command])
    assert raised.value.option == "init" and raised.value.status == ExitCode.COMMAND


def test_a_detector_is_not_pretrained_with_labels(run_command):
    with pytest.raises(UserError, match="finds objects") as raised:
        run_command("pretrain", "model=yolos_nano")
    assert raised.value.option == "objective"


@pytest.mark.parametrize("to", ["timm", "npz"])
def test_a_format_without_a_place_for_boxes_refuses_a_detector(tmp_path, to):
    network = models.build(tables.load_model_row("yolos_nano"), 3, 16)
    with pytest.raises(UserError, match="finds objects") as raised:
        export_model(network, 16, to, tmp_path / f"detector.{to}", "card")
    assert raised.value.option == "to"
