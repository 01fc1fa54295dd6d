"""vitrun's own ``.safetensors``: a state dict, with row, classes and resolution as JSON in its metadata."""

from pydantic import TypeAdapter, ValidationError

from vitrun.models.formats.mapping import IdentifiedWeights, map_same
from vitrun.models.tensor_files import Weights, weights_error
from vitrun.recipes import Model
from vitrun.runtime.files import parse_json

PRETRAINING_TENSORS = {"mask token": "mask_token", "decoder of patches": "decoder."}  # of masked patch prediction


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the network that the metadata describes; None if there is no such metadata."""
    if "vitrun" not in weights.metadata:
        return None
    try:
        description = parse_json(weights.metadata["vitrun"])
        model = TypeAdapter(Model).validate_python(description["model"])
        res, classes = int(description["res"]), int(description["classes"])
        names = tuple(map(str, description["names"]))
        if len(names) not in (0, classes):
            raise ValueError(f"it names {len(names)} of {classes} classes")
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise weights_error(weights.path, f"its description of the network is damaged: {error}") from None
    ignored = {
        reason: dropped
        for reason, start in PRETRAINING_TENSORS.items()
        if (dropped := [name for name in weights if name.startswith(start)])
    }
    unused = {name for dropped in ignored.values() for name in dropped}
    mappings = [map_same(name, name) for name in weights if name not in unused]
    return IdentifiedWeights(weights, model, res, classes, mappings, ignored, names=names)
