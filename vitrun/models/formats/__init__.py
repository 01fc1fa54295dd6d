"""The layouts of published weights: which names a file has, what network they make, how tensors translate."""

from vitrun.models.formats import hugging_face, jax_bit, jax_vit, ours, timm_names
from vitrun.models.formats.mapping import Source
from vitrun.models.tensor_files import Weights, wrong

LAYOUTS = (ours, jax_vit, jax_bit, hugging_face, timm_names)


def recognise(weights: Weights) -> Source:
    """What network a file holds and where; a Mistake that names some tensors where no layout knows them."""
    for layout in LAYOUTS:
        try:
            source = layout.recognise(weights)
        except (ValueError, KeyError, IndexError, TypeError) as error:  # names of the layout, in shapes that are not
            reason = str(error).replace("\n", " ")
            raise wrong(weights.path, f"its tensors make no network: {reason}") from None
        if source is not None:
            return source
    some = ", ".join(list(weights)[:4])
    raise wrong(
        weights.path, f"no layout that vitrun knows has tensors named {some}. A timm network: init=timm:NAME.TAG"
    )
