"""The layouts of published weights: which names a file has, what network they make, how tensors translate."""

from vitrun.models.formats import hugging_face, jax_bit, jax_vit, native, timm_names
from vitrun.models.formats.mapping import IdentifiedWeights
from vitrun.models.tensor_files import Weights, weights_error

FORMATS = (native, jax_vit, jax_bit, hugging_face, timm_names)


def recognise(weights: Weights) -> IdentifiedWeights:
    """What network a file holds and where; a UserError that names some tensors where no layout knows them."""
    for layout in FORMATS:
        try:
            source = layout.recognise(weights)
        except (ValueError, KeyError, IndexError, TypeError) as error:  # names of the layout, in shapes that are not
            reason = str(error).replace("\n", " ")
            raise weights_error(weights.path, f"its tensors make no network: {reason}") from None
        if source is not None:
            return source
    some = ", ".join(list(weights)[:4])
    raise weights_error(
        weights.path, f"no layout that vitrun knows has tensors named {some}. A timm network: init=timm:NAME.TAG"
    )
