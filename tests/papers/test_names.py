"""Models and public weights have the names of their papers."""

import pytest

from vitrun.config import compose
from vitrun.errors import UserError
from vitrun.papers import names
from vitrun.recipes import composition, tables

PAPER_NAMES = {
    name: paper for name in tables.list_group_files("model") if (paper := tables.load_model_info(name).paper)
}


@pytest.mark.parametrize("row, paper", PAPER_NAMES.items())
def test_a_row_has_its_published_name_and_a_changed_row_does_not(row, paper):
    options = tables.read_row("model", row)
    assert names.paper_model_name(options["name"], options) == paper
    for option, value in {"depth": 1, "kappa": 0.7, "window": 9, "stages": 1}.items():
        if option in options:
            assert names.paper_model_name(options["name"], options | {option: value}) == row


def test_a_network_of_attention_with_a_convolutional_stem_has_a_published_name_too():
    options = tables.read_row("model", "sasa50")
    assert names.paper_model_name("sasa50", options | {"stem": "conv"}) == "SASA-50, conv stem"
    assert names.paper_model_name("sasa50", options | {"stem": "conv", "window": 3}) == "sasa50"


def test_rows_share_a_published_name_only_if_they_are_one_model_at_two_resolutions():
    shared = {row for row, paper in PAPER_NAMES.items() if list(PAPER_NAMES.values()).count(paper) > 1}
    assert shared == {"swin_b", "swin_b384", "swin_l", "swin_l384"}


def test_paper_names_and_published_weights_are_not_in_a_recipe():
    assert not {"paper", "weights"} & tables.read_row("model", "vit_b16").keys()
    assert not {"paper", "weights"} & compose.compose_config("pretrain", ["model=vit_b16"])["model"].keys()


def test_wrong_metadata_of_a_model_is_refused_with_its_file(monkeypatch):
    monkeypatch.setattr(
        composition, "read_config_file", lambda path: {"kind": "timm", "name": "x", "weights": "timm:x.y"}
    )
    with pytest.raises(UserError, match=r"conf/model/mine\.yaml .*weights"):
        tables.load_model_info("mine")


PUBLIC = [
    ("timm:vit_base_patch16_224.orig_in21k", "B/16", "ImageNet-21k", "paper_table3"),
    ("timm:vit_base_patch16_384.augreg_in21k_ft_in1k", "B/16", "ImageNet-21k, ImageNet", "augreg"),
    ("timm:vit_base_patch16_clip_224.openai", "timm:vit_base_patch16_clip_224.openai", None, None),
    ("torchvision:vit_b_16.IMAGENET1K_V1", "B/16", "ImageNet", None),
    ("timm:resnetv2_50x1_bit.goog_in21k", "R50x1", "ImageNet-21k", None),
    ("timm:swin_base_patch4_window12_384.ms_in22k_ft_in1k", "Swin-B", "ImageNet-21k, ImageNet", None),
    ("timm:convnext_tiny.fb_in1k", "ConvNeXt-T", "ImageNet", None),
    ("hf:google/vit-base-patch16-224-in21k@0123", "B/16", "ImageNet-21k", "paper_table3"),
    ("hf:google/vit-base-patch16-384@0123", "B/16", "ImageNet-21k, ImageNet", "paper_table3"),
    ("/weights/imagenet21k/R50+ViT-B_16.npz", None, "ImageNet-21k", None),
    ("/weights/B_32-i21k-300ep-lr_0.001-aug_light1-wd_0.1-do_0.0-sd_0.0.npz", None, "ImageNet-21k", "augreg"),
    ("/weights/ViT-B_16.npz", None, None, None),
]


@pytest.mark.parametrize("init, model, trained, protocol", PUBLIC)
def test_public_weights_are_recognized_by_their_names(init, model, trained, protocol):
    assert names.training_data_of(init) == trained
    assert model is None or (names.paper_model_name(init), names.pretraining_protocol_of(init)) == (model, protocol)


def test_files_of_public_weights_are_recognized_by_their_stems():
    for stem, model in (("R50+ViT-B_16", "R50+B/16"), ("R50_L_32-i21k-300ep", "R50+L/32"), ("BiT-M-R152x4", "R152x4")):
        assert names.paper_model_name(stem) == model
