"""Our own ``.safetensors``: a state dict, with the row, the classes and the resolution as JSON in its metadata."""

import json

from pydantic import TypeAdapter, ValidationError

from vitrun.models.formats.mapping import IdentifiedWeights, map_same
from vitrun.models.tensor_files import Weights, weights_error
from vitrun.recipes import Model

PRETRAINING_TENSORS = {
    "mask token": "mask_token",
    "decoder of patches": "decoder.",
}  # of a network that masked patches trained


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """The network that the metadata describes, or None where there is no such metadata."""
    if "vitrun" not in weights.metadata:
        return None
    try:
        facts = json.loads(weights.metadata["vitrun"])
        model = TypeAdapter(Model).validate_python(facts["model"])
        res, classes = int(facts["res"]), int(facts["classes"])
        names = tuple(map(str, facts["names"]))
        if len(names) not in (0, classes):
            raise ValueError(f"it names {len(names)} of {classes} classes")
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise weights_error(weights.path, f"its description of the network is damaged: {error}") from None
    ignored = {why: [name for name in weights if name.startswith(part)] for why, part in PRETRAINING_TENSORS.items()}
    dropped = {name for names in ignored.values() for name in names}
    entries = [map_same(name, name) for name in weights if name not in dropped]
    ignored = {why: found for why, found in ignored.items() if found}
    return IdentifiedWeights(weights, model, res, classes, entries, ignored, names=names)
