"""Which rows of the model table Google published weights for, as ``init=`` takes them."""

TIMM_TAGS = {  # row: timm's names of it, each with its tags; of arXiv 2010.11929, 2106.10270 (augreg) and 1912.11370
    "vit_ti16": {
        "vit_tiny_patch16_224": ["augreg_in21k", "augreg_in21k_ft_in1k"],
        "vit_tiny_patch16_384": ["augreg_in21k_ft_in1k"],
    },
    "vit_s32": {
        "vit_small_patch32_224": ["augreg_in21k", "augreg_in21k_ft_in1k"],
        "vit_small_patch32_384": ["augreg_in21k_ft_in1k"],
    },
    "vit_s16": {
        "vit_small_patch16_224": ["augreg_in21k", "augreg_in21k_ft_in1k", "augreg_in1k"],
        "vit_small_patch16_384": ["augreg_in21k_ft_in1k", "augreg_in1k"],
    },
    "vit_b32": {
        "vit_base_patch32_224": ["orig_in21k", "augreg_in21k", "augreg_in21k_ft_in1k", "augreg_in1k", "sam_in1k"],
        "vit_base_patch32_384": ["augreg_in21k_ft_in1k", "augreg_in1k"],
    },
    "vit_b16": {
        "vit_base_patch16_224": [
            "orig_in21k",
            "orig_in21k_ft_in1k",
            "augreg_in21k",
            "augreg_in21k_ft_in1k",
            "augreg_in1k",
            "sam_in1k",
        ],
        "vit_base_patch16_384": ["orig_in21k_ft_in1k", "augreg_in21k_ft_in1k", "augreg_in1k"],
    },
    "vit_b8": {"vit_base_patch8_224": ["augreg_in21k", "augreg_in21k_ft_in1k"]},
    "vit_l32": {"vit_large_patch32_224": ["orig_in21k"], "vit_large_patch32_384": ["orig_in21k_ft_in1k"]},
    "vit_l16": {
        "vit_large_patch16_224": ["orig_in21k", "augreg_in21k", "augreg_in21k_ft_in1k"],
        "vit_large_patch16_384": ["augreg_in21k_ft_in1k"],
    },
    "vit_h14": {"vit_huge_patch14_224": ["orig_in21k"]},
    "r_vit_ti16": {
        "vit_tiny_r_s16_p8_224": ["augreg_in21k", "augreg_in21k_ft_in1k"],
        "vit_tiny_r_s16_p8_384": ["augreg_in21k_ft_in1k"],
    },
    "r26_vit_s32": {
        "vit_small_r26_s32_224": ["augreg_in21k", "augreg_in21k_ft_in1k"],
        "vit_small_r26_s32_384": ["augreg_in21k_ft_in1k"],
    },
    "r50_vit_b16": {"vit_base_r50_s16_224": ["orig_in21k"], "vit_base_r50_s16_384": ["orig_in21k_ft_in1k"]},
    "r50_vit_l32": {
        "vit_large_r50_s32_224": ["augreg_in21k", "augreg_in21k_ft_in1k"],
        "vit_large_r50_s32_384": ["augreg_in21k_ft_in1k"],
    },
    "bit_r50x1": {"resnetv2_50x1_bit": ["goog_in21k", "goog_in21k_ft_in1k", "goog_distilled_in1k"]},
    "bit_r50x3": {"resnetv2_50x3_bit": ["goog_in21k", "goog_in21k_ft_in1k"]},
    "bit_r101x1": {"resnetv2_101x1_bit": ["goog_in21k", "goog_in21k_ft_in1k"]},
    "bit_r101x3": {"resnetv2_101x3_bit": ["goog_in21k", "goog_in21k_ft_in1k"]},
    "bit_r152x2": {
        "resnetv2_152x2_bit": [
            "goog_in21k",
            "goog_in21k_ft_in1k",
            "goog_teacher_in21k_ft_in1k",
            "goog_teacher_in21k_ft_in1k_384",
        ]
    },
    "bit_r152x4": {"resnetv2_152x4_bit": ["goog_in21k", "goog_in21k_ft_in1k"]},
}


def list_published_weights(name: str) -> list[str]:
    """The sources of a row's published weights, as overrides after ``init=``; none for a row that has none."""
    return [f"timm:{network}.{tag}" for network, tags in TIMM_TAGS.get(name, {}).items() for tag in tags]
