"""Make a detector of a pretrained body: a ViT gets detection tokens or a decoder, a ResNet of timm a decoder."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from vitrun.models.assemble import LoadedModel
from vitrun.models.build import build
from vitrun.models.detector import Detector, TokenViT
from vitrun.models.load_report import LoadReport
from vitrun.models.network import Network
from vitrun.models.positions import resample_rectangle
from vitrun.models.timm_wrapper import TimmNetwork, zero_linear
from vitrun.models.vit import ViT
from vitrun.recipes.detector_rows import make_detector_row

NOT_OF_BODIES = ("head.", "pre_logits.", "attn_pool.", "pos_embed", "mask_token", "decoder.")  # left out of a ViT


def make_detector(loaded: LoadedModel, like: str | None, classes: int, res: int | None) -> LoadedModel:
    """Return a detector of ``classes`` with the body of a loaded network; new weights are drawn by torch's generator.

    Positions of patches are resampled bicubically to the detector's grid, as in YOLOS. A loaded detector gets a zero
    head.
    """
    res = res or loaded.res
    row = make_detector_row(loaded.model, like, res)
    if isinstance(loaded.network, Detector):
        loaded.network.head = zero_linear(loaded.network.head.in_features, classes + 1)
        new = {f"zero head of {classes} classes": ["head.weight", "head.bias"]}
        return replace(loaded, classes=classes, res=res, report=LoadReport(row.name, 0, {}, {}, new, []))
    network = cast(Detector, build(row, classes, res))
    tensors, resized = convert_body(loaded.network, network)
    network.load_state_dict(tensors, strict=False)
    drawn = [name for name, _ in network.named_parameters() if name not in tensors]
    what = f"a decoder of {row.decoder} layers" if row.decoder else f"{row.tokens} detection tokens"
    new = {f"{what} and heads of {classes} classes and boxes": drawn}
    report = LoadReport(f"the body of {row.name}", len(tensors) - len(resized), resized, {}, new, [])
    return LoadedModel(network, row, classes, res, report)


def convert_body(body: Network, network: Detector) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Return the tensors of a detector that its body has, and the names of resized ones by change."""
    if isinstance(body, TimmNetwork):
        own = network.state_dict()
        named = {f"body.{name}": tensor for name, tensor in body.state_dict().items()}
        return {name: tensor for name, tensor in named.items() if name in own}, {}
    vit, target = cast(ViT, body), cast(TokenViT, network.body)
    tensors = {name: tensor for name, tensor in vit.state_dict().items() if not name.startswith(NOT_OF_BODIES)}
    table, side = vit.positions(), (vit.side, vit.side)
    placed = target.pos_embed.detach().clone()  # positions of detection tokens stay as they were drawn
    rows = target.prefix + target.grid[0] * target.grid[1]
    placed[:, :rows] = 0
    if table is not None:
        patches = resample_rectangle(table[:, vit.prefix :].detach(), side, target.grid)
        placed[:, :rows] = torch.cat([table[:, : vit.prefix].detach(), patches], 1)
    tensors["pos_embed"] = placed
    change = f"positions {vit.side}x{vit.side} -> {target.grid[0]}x{target.grid[1]}"
    resized = {change: ["body.pos_embed"]} if side != target.grid else {}
    return {f"body.{name}": tensor for name, tensor in tensors.items()}, resized
