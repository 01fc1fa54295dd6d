"""Assemble a CLIP, its image tower, or any other network from published weights."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from vitrun.models.assemble import LoadedModel, assemble_network, convert_tensor, require_tensors
from vitrun.models.build import select_image_row
from vitrun.models.clip import Clip
from vitrun.models.clip_resnet import ClipResNet
from vitrun.models.formats.mapping import IdentifiedWeights
from vitrun.models.load_report import LoadReport, describe_model
from vitrun.models.vit import ViT
from vitrun.recipes import Clip as Row

IMAGE = "image."  # what the names of the image tower's tensors begin with
OTHERS = {  # what else a CLIP has: reason in the report -> what the names of its tensors begin with
    "text tower": "text.",
    "projection of images": "image_proj.",
    "temperature": "logit_",
}


def assemble_model(source: IdentifiedWeights, classes: int | None, res: int | None) -> LoadedModel:
    """Return the network of a file whose layout is known: of a CLIP both towers, with ``classes`` its image tower."""
    if not isinstance(source.model, Row):
        return assemble_network(source, classes, res)
    tower = select_image_tower(source, source.model)
    if classes is not None:
        return assemble_network(tower, classes, res)
    return assemble_clip(source, source.model, assemble_network(tower, None, res))


def select_image_tower(source: IdentifiedWeights, model: Row) -> IdentifiedWeights:
    """Return the image tower of the CLIP in a file, with a head of no classes; the other tensors are ignored."""
    of_image = [mapping for mapping in source.mappings if mapping.ours.startswith(IMAGE)]
    others = {
        reason: [name for mapping in source.mappings if mapping.ours.startswith(start) for name in mapping.theirs]
        for reason, start in OTHERS.items()
    }
    return replace(
        source,
        model=select_image_row(model),
        classes=0,
        mappings=[replace(mapping, ours=mapping.ours.removeprefix(IMAGE)) for mapping in of_image],
        ignored={**source.ignored, **others},
    )


def assemble_clip(source: IdentifiedWeights, model: Row, tower: LoadedModel) -> LoadedModel:
    """Return the CLIP in a file, of which the image tower is assembled already."""
    with torch.device("meta"):
        network = Clip(model, cast(ViT | ClipResNet, tower.network))
    mappings = {mapping.ours: mapping for mapping in source.mappings}
    state = {name: like for name, like in network.state_dict().items() if not name.startswith(IMAGE)}
    theirs = [name for ours in state.keys() & mappings.keys() for name in mappings[ours].theirs]
    require_tensors(source, [name for name in theirs if name not in source.weights] + [*state.keys() - mappings.keys()])
    tensors: dict[str, Tensor] = {
        name: convert_tensor(source, mappings[name], like, {}) for name, like in state.items()
    }
    network.load_state_dict(tensors, strict=False, assign=True)
    report = cast(LoadReport, tower.report)
    dropped = {reason: names for reason, names in report.dropped.items() if reason not in OTHERS}
    loaded = report.loaded + len(tensors)
    report = replace(report, model=describe_model(model), loaded=loaded, dropped=dropped)
    return LoadedModel(network, model, 0, tower.res, report)


def take_image_tower(loaded: LoadedModel) -> LoadedModel:
    """Return the image tower of a CLIP, with a head of no classes."""
    network = cast(Clip, loaded.network).image
    return replace(loaded, network=network, model=select_image_row(cast(Row, loaded.model)))
