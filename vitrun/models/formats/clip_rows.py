"""Rows of the model table for CLIPs of other libraries."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from vitrun.models.formats.identify import PLAIN_VIT
from vitrun.recipes import Clip, ClipResNet, TextTower, ViT
from vitrun.recipes.tables import load_model_rows
from vitrun.recipes.transformer_rows import VOCABULARIES

TOKENS_KEY = "vitrun_tokens"  # in the config of an export of vitrun: the name of its tokenizer
PLAIN_TEXT = TextTower(
    width=512,
    depth=12,
    heads=8,
    mlp=2048,
    tokens="unknown",
    vocabulary=VOCABULARIES["clip"],
    context=77,
    gelu="quick",
    epsilon=1e-5,
    dropout=0.0,
)


def clip_vit_row(**options: Any) -> ViT:
    """Return the row of an image tower with a class token and learned positions."""
    return replace(PLAIN_VIT, **{"name": "image", "gelu": "quick", "epsilon": 1e-5, "norm_pre": True, **options})


def find_tokens(name: object, vocabulary: int) -> Literal["clip", "bytes", "unknown"]:
    """Return the tokenizer of weights: that of an export of vitrun, else CLIP's if they have as many tokens."""
    if name in VOCABULARIES and VOCABULARIES[str(name)] == vocabulary:
        return "bytes" if name == "bytes" else "clip"
    return "clip" if name is None and vocabulary == VOCABULARIES["clip"] else "unknown"


def name_clip(image: ViT | ClipResNet, text: TextTower, features: int, logit_bias: bool, res: int) -> Clip:
    """Return the CLIP of two towers, with the name of the row of its shape, or with one that describes it.

    Of rows that differ in resolution alone, as clip_l14 and clip_l14_336, it is the one that ends with ``res``.
    """
    shape = get_shape(image, text)
    rows = load_model_rows().items()
    names = [name for name, row in rows if isinstance(row, Clip) and get_shape(row.image, row.text) == shape]
    plain = "clip_resnet" if isinstance(image, ClipResNet) else f"clip_{image.width}x{image.depth}p{image.patch}"
    return Clip(
        kind="clip",
        name=choose_name(names, plain, res),
        image=image,
        text=text,
        features=features,
        logit_bias=logit_bias,
    )


def name_image_tower(tower: ViT, res: int) -> str:
    """Return the name of an image tower alone, such as ``clip_b32_image`` for that of ``clip_b32``."""
    shape = get_image_shape(tower)
    rows = load_model_rows().items()
    names = [name for name, row in rows if isinstance(row, Clip) and get_image_shape(row.image) == shape]
    return f"{choose_name(names, f'clip_{tower.width}x{tower.depth}p{tower.patch}', res)}_image"


def choose_name(names: Sequence[str], plain: str, res: int) -> str:
    """Return the name that ends with ``res``, else the first one; ``plain`` if there are no names."""
    return next((name for name in names if name.endswith(f"_{res}")), (names or [plain])[0])


def get_shape(image: ViT | ClipResNet, text: TextTower) -> tuple[object, ...]:
    """Return what distinguishes the published CLIPs."""
    return *get_image_shape(image), text.width, text.depth, text.vocabulary


def get_image_shape(image: ViT | ClipResNet) -> tuple[object, ...]:
    """Return what distinguishes the image towers of the published CLIPs."""
    depth = image.blocks if isinstance(image, ClipResNet) else (image.patch, image.depth)
    return image.kind, depth, image.width
