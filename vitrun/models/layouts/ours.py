"""Our own ``.safetensors``: a state dict, with the row, the classes and the resolution as JSON in its metadata."""

import json

from pydantic import TypeAdapter, ValidationError

from vitrun.models.layouts.entry import Source, same
from vitrun.models.weights import Weights, wrong
from vitrun.recipe import Model


def recognise(weights: Weights) -> Source | None:
    """The network that the metadata describes, or None where there is no such metadata."""
    if "vitrun" not in weights.facts:
        return None
    try:
        facts = json.loads(weights.facts["vitrun"])
        model = TypeAdapter(Model).validate_python(facts["model"])
        res, classes = int(facts["res"]), int(facts["classes"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise wrong(weights.path, f"its description of the network is damaged: {error}") from None
    return Source(weights, model, res, classes, [same(name, name) for name in weights])
