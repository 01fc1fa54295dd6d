"""The known layouts of weights, and which of them a file has."""

from vitrun.models.formats import hugging_face, jax_bit, jax_vit, native, timm_names
from vitrun.models.formats.mapping import IdentifiedWeights
from vitrun.models.tensor_files import Weights, weights_error

FORMATS = (native, jax_vit, jax_bit, hugging_face, timm_names)


def recognise(weights: Weights) -> IdentifiedWeights:
    """Return the network in a file and where its tensors are. Raise a UserError if no layout has these tensors."""
    for layout in FORMATS:
        try:
            source = layout.recognise(weights)
        except (ValueError, KeyError, IndexError, TypeError) as error:  # the layout's names, but shapes that do not fit
            reason = str(error).replace("\n", " ")
            raise weights_error(weights.path, f"vitrun cannot compute this network: {reason}") from None
        if source is not None:
            return source
    examples = ", ".join(list(weights)[:4])
    raise weights_error(
        weights.path,
        f"no layout that vitrun knows has tensors named {examples}. For a network of timm use init=timm:NAME.TAG",
    )
