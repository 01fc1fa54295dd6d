"""A refused export names the formats that can have the network."""

from dataclasses import replace

import pytest

from helpers.networks import MODEL_ROWS, build_randomized, tiny_vit_row
from vitrun.errors import UserError
from vitrun.models.export import export_model
from vitrun.models.export.obstacles import OBSTACLES, check_format

ROWS = {
    "pre_logits": tiny_vit_row(pre_logits=True),
    "gap": tiny_vit_row(head="gap"),
    "relative": tiny_vit_row(positions="relative"),
    "clip": tiny_vit_row(norm_pre=True, gelu="quick", epsilon=1e-5),
    "bit": replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 1, 1, 1), width_factor=0.5),
    "timm": replace(MODEL_ROWS["timm"], name="test_resnet"),
    **{name: MODEL_ROWS[name] for name in ("resnet_nano", "sasa_nano", "igpt_nano", "clip_nano")},
    "yolos": replace(MODEL_ROWS["yolos_nano"], grid=(4, 4)),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_formats_that_a_refusal_names_can_have_the_network_and_no_others(tmp_path, row):
    network = build_randomized(row)
    possible = [to for to, find in OBSTACLES.items() if find(network) is None]
    for to in OBSTACLES:
        path = tmp_path / (f"it.{to}" if to in ("npz", "onnx") else to)
        if to in possible:
            if to != "onnx":  # which takes seconds, and has a test of its own
                export_model(network, 32, to, path, "a card")
            continue
        with pytest.raises(UserError) as caught:
            export_model(network, 32, to, path, "a card")
        assert caught.value.option == "to" and len(str(caught.value)) < 400 and not path.exists()
        assert str(caught.value).endswith(f"Export it with to={' or to='.join(possible)}.")


def test_a_network_that_no_format_has_is_refused_with_its_run(monkeypatch):
    network = build_randomized(tiny_vit_row(positions="relative"))
    monkeypatch.setitem(OBSTACLES, "onnx", lambda network: "has 3 GB")
    with pytest.raises(UserError, match="No other format has it"):
        check_format(network, "timm")
