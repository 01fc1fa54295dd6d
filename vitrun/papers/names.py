"""What papers call our models, our data sets and the public weights."""

import re
from functools import cache

from vitrun.recipes import tables

MODELS = {  # row of the model table, or timm's name: as papers write it, and how the files of its weights begin
    "vit_ti16": ("Ti/16", "vit_tiny_patch16", "Ti_16"),
    "vit_s32": ("S/32", "vit_small_patch32", "S_32"),
    "vit_s16": ("S/16", "vit_small_patch16", "S_16"),
    "vit_b32": ("B/32", "vit_base_patch32", "B_32", "ViT-B_32"),
    "vit_b16": ("B/16", "vit_base_patch16", "B_16", "ViT-B_16"),
    "vit_b8": ("B/8", "vit_base_patch8", "B_8"),
    "vit_l32": ("L/32", "vit_large_patch32", "L_32", "ViT-L_32"),
    "vit_l16": ("L/16", "vit_large_patch16", "L_16", "ViT-L_16"),
    "vit_h14": ("H/14", "vit_huge_patch14", "ViT-H_14"),
    "r_vit_ti16": ("R+Ti/16", "vit_tiny_r_s16_p8", "R_Ti_16"),
    "r26_vit_s32": ("R26+S/32", "vit_small_r26_s32", "R26_S_32"),
    "r50_vit_b32": ("R50+B/32",),
    "r50_vit_b16": ("R50+B/16", "vit_base_r50_s16", "R50+ViT-B_16"),
    "r50_vit_l32": ("R50+L/32", "vit_large_r50_s32", "R50_L_32"),
    "r50_vit_l16": ("R50+L/16",),
    "bit_r50x1": ("R50x1", "resnetv2_50x1_bit", "BiT-M-R50x1", "BiT-S-R50x1"),
    "bit_r50x2": ("R50x2",),
    "bit_r50x3": ("R50x3", "resnetv2_50x3_bit", "BiT-M-R50x3", "BiT-S-R50x3"),
    "bit_r101x1": ("R101x1", "resnetv2_101x1_bit", "BiT-M-R101x1", "BiT-S-R101x1"),
    "bit_r101x3": ("R101x3", "resnetv2_101x3_bit", "BiT-M-R101x3", "BiT-S-R101x3"),
    "bit_r152x1": ("R152x1",),
    "bit_r152x2": ("R152x2", "resnetv2_152x2_bit", "BiT-M-R152x2", "BiT-S-R152x2"),
    "bit_r152x4": ("R152x4", "resnetv2_152x4_bit", "BiT-M-R152x4", "BiT-S-R152x4"),
    "bit_r200x3": ("R200x3",),
    "swin_t": ("Swin-T", "swin_tiny_patch4_window7"),
    "swin_s": ("Swin-S", "swin_small_patch4_window7"),
    "swin_b": ("Swin-B", "swin_base_patch4_window7"),
    "swin_b384": ("Swin-B", "swin_base_patch4_window12"),
    "swin_l": ("Swin-L", "swin_large_patch4_window7"),
    "swin_l384": ("Swin-L", "swin_large_patch4_window12"),
    "convnext_t": ("ConvNeXt-T", "convnext_tiny"),
    "convnext_s": ("ConvNeXt-S", "convnext_small"),
    "convnext_b": ("ConvNeXt-B", "convnext_base"),
    "convnext_l": ("ConvNeXt-L", "convnext_large"),
    "convnext_xl": ("ConvNeXt-XL", "convnext_xlarge"),
    "efficientnet_l2": ("Noisy Student (EfficientNet-L2)", "tf_efficientnet_l2"),
}
SHAPE_OPTIONS = (
    "patch",
    "width",
    "depth",
    "heads",
    "mlp",
    "stem",
    "resnet",
    "blocks",
    "width_factor",
)  # what a name stands for
VTAB = {  # group: its tasks in our words and in those of table 9
    "natural": {
        "caltech101": "Caltech101",
        "cifar100": "CIFAR-100",
        "dtd": "DTD",
        "flowers102": "Flowers102",
        "pets": "Pets",
        "sun397": "Sun397",
        "svhn": "SVHN",
    },
    "specialised": {
        "camelyon": "Camelyon",
        "eurosat": "EuroSAT",
        "resisc45": "Resisc45",
        "retinopathy": "Retinopathy",
    },
    "structured": {
        "clevr_count": "Clevr-Count",
        "clevr_dist": "Clevr-Dist",
        "dmlab": "DMLab",
        "dspr_loc": "dSpr-Loc",
        "dspr_ori": "dSpr-Ori",
        "kitti_dist": "KITTI-Dist",
        "snorb_azim": "sNORB-Azim",
        "snorb_elev": "sNORB-Elev",
    },
}
VTAB_TASKS = {f"vtab/{task}": f"VTAB {name}" for tasks in VTAB.values() for task, name in tasks.items()}
VTAB_GROUPS = {f"VTAB {group}": [f"VTAB {name}" for name in tasks.values()] for group, tasks in VTAB.items()}
VTAB_MEAN = "VTAB (19)"
TIMM_TAG = r"\.(orig|augreg2?|goog|ms|fb)_"  # in timm's names
TRAINING_DATA = (  # what the public weights were trained on, in order; by their tag, file or repository
    (rf"{TIMM_TAG}in2[12]k_ft_in1k|-i21k-.*--imagenet2012|hf:google/vit-[^@]*(224|384)(@|$)", "ImageNet-21k, ImageNet"),
    (rf"{TIMM_TAG}in2[12]k(@|$)|-i21k-|hf:google/vit-.*-in21k|/imagenet21k/|BiT-M-", "ImageNet-21k"),
    (rf"{TIMM_TAG}in1k|-i1k-|BiT-S-", "ImageNet"),
)
PRETRAINING_PROTOCOLS = (
    (r"\.orig_|hf:google/vit-|/imagenet21k/ViT-", "paper"),
    (r"\.augreg2?_|-i21k-|-i1k-", "augreg"),
)


@cache
def match_model_row(name: str) -> str | None:
    """The row of the model table behind a tag, a file's stem or a repository's name; None where it is none of ours."""
    name = name.partition(":")[2] or name
    name = name.rpartition("/")[2].replace("vit-", "vit_").replace("-patch", "_patch")
    found = [
        (len(start), row)
        for row, (_, *starts) in MODELS.items()
        for start in (row, *starts)
        if re.match(rf"{re.escape(start)}([-_]\d+)?([-.@]|$)", name)
    ]
    return max(found)[1] if found else None


def paper_model_name(name: str, options: dict | None = None) -> str:
    """What papers call a model, where its ``options`` do not make it another; else our own name."""
    row = match_model_row(name)
    if row is None:
        return name
    written = tables.read_row("model", row)
    if options and any(options.get(key) != written[key] for key in SHAPE_OPTIONS if key in written):
        return name
    return MODELS[row][0]


def paper_data_name(options: dict) -> str:
    """What the paper calls a data set; else our own name."""
    return VTAB_TASKS.get(options["name"]) or options.get("paper") or options["name"]


def training_data_of(init: str) -> str | None:
    """The data sets that public weights were trained on, in order; None where their name does not say."""
    return next((found for pattern, found in TRAINING_DATA if re.search(pattern, init)), None)


def pretraining_protocol_of(init: str) -> str | None:
    """Whose recipe public weights were pretrained by; None where their name does not say."""
    return next((found for pattern, found in PRETRAINING_PROTOCOLS if re.search(pattern, init)), None)
