"""The layers of a network in order of depth, by which a part of it is frozen or trained more slowly."""

import re
from collections.abc import Callable
from typing import Any

from vitrun.errors import UserError
from vitrun.models.detector import BODY, Detector
from vitrun.models.network import Network
from vitrun.models.timm_wrapper import TimmNetwork

# prefixes of the names of parameters before the first block
EMBEDDING = (
    "patch_embed.",
    "cls_token",
    "pos_embed",
    "norm_pre.",
    "mask_token",
    "stem.",
    "colour_embed.",
    "start",
    "det_token",
    "mid_pos",
)
# a block of a ViT, or a stage and a unit of BiT
BLOCK = re.compile(r"blocks\.(\d+)\.|stages\.(\d+)\.(?:blocks\.)?(\d+)\.")
HEAD = "~head"  # a name that no pattern of timm matches


def number_layers(network: Network) -> dict[str, int]:
    """Return the layer of each parameter by its name: 0 for the embedding, then the blocks, the last for the head.

    A norm after the last block belongs to the head, as in BEiT and MAE. In networks of timm the layers are those of its
    ``group_matcher``, where that norm often belongs to the last block; raise a UserError if a network has none.
    """
    if isinstance(network, TimmNetwork):
        return number_timm_layers(network)
    if isinstance(network, Detector) and isinstance(network.body, TimmNetwork):
        raise UserError(f"{network.row.name} has no layers in order of depth: train all of it, or set body_lr.")
    places = {name: locate_parameter(name.removeprefix(BODY)) for name, _ in network.named_parameters()}
    order = sorted(set(places.values()))
    return {name: order.index(place) for name, place in places.items()}


def locate_parameter(name: str) -> tuple[int, ...]:
    """Return what parameters are sorted by: (0,) for the embedding, (1, number ...) for a block, (2,) for the head."""
    if name.startswith(EMBEDDING):
        return (0,)
    block = BLOCK.match(name)
    return (2,) if block is None else (1, *(int(number) for number in block.groups() if number is not None))


def name_heads(network: Network) -> set[str]:
    """Return the names of the parameters that read a network's features: of its last layer, or all but the body."""
    names = {name for name, _ in network.named_parameters()}
    if isinstance(network, Detector):
        return {name for name in names if not name.startswith(BODY)}
    return {name for name in names if name.startswith("head.")}


def number_timm_layers(network: TimmNetwork) -> dict[str, int]:
    """Return the layer of each parameter of a network of timm, and of its head, by its name."""
    from timm.models._manipulate import group_with_matcher  # group_parameters, for names without a module

    matcher: Callable[..., Any] | None = getattr(network.body, "group_matcher", None)
    named = [*network.body.named_parameters(), (HEAD, network.head.weight)]
    layers: dict[str, int] = {}
    if matcher is not None:
        layers = group_with_matcher(iter(named), matcher(coarse=False), reverse=True)
    if max(layers.values(), default=0) == 0:
        raise UserError(f"{network.row.name} has no layers that timm knows: train all of it, at one learning rate.")
    head = layers.pop(HEAD)
    return {f"body.{name}": layer for name, layer in layers.items()} | {"head.weight": head, "head.bias": head}
