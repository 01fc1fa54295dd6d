"""The known layouts of weights, and which of them a file has."""

import re
from dataclasses import replace

from pydantic import ValidationError

from vitrun.models.formats import (
    hugging_face,
    hugging_face_clip,
    hugging_face_clip_image,
    hugging_face_detr,
    hugging_face_igpt,
    hugging_face_yolos,
    jax_bit,
    jax_vit,
    native,
    open_clip,
    timm_names,
    torchvision,
)
from vitrun.models.formats.mapping import IdentifiedWeights
from vitrun.models.formats.wrappers import unwrap
from vitrun.models.tensor_files import Weights, format_keys, weights_error
from vitrun.recipes.base import describe_value_error

MAX_REASON = 200  # characters
FORMATS = {  # layout -> whose
    native: "vitrun",
    jax_vit: "Google's JAX code",
    jax_bit: "big_transfer",
    hugging_face_igpt: "transformers",
    open_clip: "open_clip",
    hugging_face_clip: "transformers' CLIPModel",
    hugging_face_clip_image: "transformers' CLIPVisionModel",
    hugging_face_yolos: "transformers' YOLOS",
    hugging_face_detr: "transformers' DETR",
    hugging_face: "transformers",
    timm_names: "timm",
    torchvision: "torchvision",
}
FOREIGN = (  # a pattern of names that a network has, one of another tensor beside it, and what it is
    (r"(^|\.)logit_scale$", r"(^|\.)(visual|vision_model)\.", "a CLIP with other towers than OpenAI's"),
    (r"(^|\.)(text_model|text)\.", r"(^|\.)(visual|vision_model)\.", "a network of two towers, of images and of texts"),
    (r"(^|\.)transformer\.resblocks\.", r"(^|\.)class_embedding$", "the image tower of a CLIP"),
    (
        r"(^|\.)vision_model\.",
        r"class_embedding$|patch_embedding\.",
        "the image tower of a CLIP or SigLIP of transformers",
    ),
    (r"(^|\.)(roi_heads|bbox_head|rpn|class_embed)\.", "", "a detector of objects"),
)


def recognise(weights: Weights, choice: str = "auto") -> IdentifiedWeights:
    """Return the network in a file and where its tensors are.

    ``choice`` is ``init_weights``: which of several weights to take. Raise a UserError if the file has none of them, or
    if no layout has these tensors.
    """
    unwrapped = unwrap(weights, choice)
    weights = unwrapped.weights
    for layout, library in FORMATS.items():
        try:
            source = layout.recognise(weights)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            # The layout's names, but shapes or a config.json that do not fit
            why = f"vitrun cannot compute this network, by its names of {library}: {reason_of(error)}"
            raise weights_error(weights.path, why) from None
        if source is not None:
            ignored, notes = {**unwrapped.beside, **source.ignored}, [*unwrapped.notes, *source.notes]
            return replace(source, ignored=ignored, notes=notes)
    if foreign := name_foreign(weights):
        raise weights_error(
            weights.path, f"this is {foreign} ({format_keys(weights)}), which vitrun does not support yet."
        )
    raise weights_error(
        weights.path,
        f"no layout that vitrun knows has tensors named {format_keys(weights)}. For a network of timm: "
        "init=timm:NAME.TAG, a folder of timm.models.save_for_hf, or a file of "
        'torch.save({"arch": NAME, "state_dict": TENSORS}, FILE).',
    )


def holds_clip(weights: Weights) -> bool:
    """Return whether a file has a CLIP that another library wrote. Raise a UserError if it has several networks."""
    names = unwrap(weights).weights.keys()
    return "vitrun" not in weights.metadata and any(
        names >= layout.LANDMARKS for layout in (open_clip, hugging_face_clip)
    )


def name_foreign(weights: Weights) -> str | None:
    """Return what a network of another kind is, by its tensors; None if it is unknown."""
    for pattern, beside, what in FOREIGN:
        if all(any(re.search(part, name) for name in weights) for part in (pattern, beside)):
            return what
    return None


def reason_of(error: Exception) -> str:
    """Return in words why a layout could not be read."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        if first["type"] == "value_error":  # of a row of the model table, whose sentence is whole
            return str(first["ctx"]["error"]).rstrip(".")
        return f"{'.'.join(map(str, first['loc']))} {describe_value_error(first)}"
    reason = " ".join(str(error).split())[:MAX_REASON]
    if isinstance(error, KeyError):
        return f"it lacks the tensor or key {reason}"
    return (
        f"a value of another kind than expected ({reason})" if isinstance(error, TypeError | AttributeError) else reason
    )
