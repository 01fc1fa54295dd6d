"""The known layouts of weights, and which of them a file has."""

from dataclasses import replace

from pydantic import ValidationError

from vitrun.models.formats import hugging_face, jax_bit, jax_vit, native, timm_names, torchvision
from vitrun.models.formats.mapping import IdentifiedWeights
from vitrun.models.formats.wrappers import unwrap
from vitrun.models.tensor_files import Weights, format_keys, weights_error
from vitrun.recipes.base import describe_value_error

MAX_REASON = 200  # characters
FORMATS = (native, jax_vit, jax_bit, hugging_face, timm_names, torchvision)


def recognise(weights: Weights, choice: str = "auto") -> IdentifiedWeights:
    """Return the network in a file and where its tensors are.

    ``choice`` is ``init_weights``: which of several weights to take. Raise a UserError if the file has none of them, or
    if no layout has these tensors.
    """
    unwrapped = unwrap(weights, choice)
    weights = unwrapped.weights
    for layout in FORMATS:
        try:
            source = layout.recognise(weights)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            # The layout's names, but shapes or a config.json that do not fit
            raise weights_error(weights.path, f"vitrun cannot compute this network: {reason_of(error)}") from None
        if source is not None:
            ignored, notes = {**unwrapped.beside, **source.ignored}, [*unwrapped.notes, *source.notes]
            return replace(source, ignored=ignored, notes=notes)
    raise weights_error(
        weights.path,
        f"no layout that vitrun knows has tensors named {format_keys(weights)}. For a network of timm use "
        'init=timm:NAME.TAG, or init=FOLDER after timm.models.save_for_hf(model, "FOLDER").',
    )


def reason_of(error: Exception) -> str:
    """Return in words why a layout could not be read."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))} {describe_value_error(first)}"
    reason = " ".join(str(error).split())[:MAX_REASON]
    if isinstance(error, KeyError):
        return f"it lacks {reason}"
    return (
        f"a value of another kind than expected ({reason})" if isinstance(error, TypeError | AttributeError) else reason
    )
