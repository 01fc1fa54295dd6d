"""Make a detector of a pretrained body: a ViT gets detection tokens or a decoder, a ResNet of timm a decoder."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from vitrun.errors import UserError, lookup
from vitrun.models.assemble import LoadedModel
from vitrun.models.build import build, grid_side
from vitrun.models.detector import Detector, TokenViT
from vitrun.models.formats.detector_config import name_detector
from vitrun.models.load_report import LoadReport
from vitrun.models.network import Network
from vitrun.models.positions import resample_rectangle
from vitrun.models.timm_wrapper import TimmNetwork, zero_linear
from vitrun.models.vit import ViT
from vitrun.recipes import Detector as Row
from vitrun.recipes import Model, Timm
from vitrun.recipes import ViT as ViTRow
from vitrun.recipes.model import check_detects
from vitrun.recipes.tables import load_model_rows

DEFAULT_ROWS = {ViTRow: "yolos_ti", Timm: "detr_r50"}  # whose tokens or decoder a body gets, without its grid
NOT_OF_BODIES = ("head.", "pre_logits.", "attn_pool.", "pos_embed", "mask_token", "decoder.")  # left out of a ViT


def make_detector_row(model: Model, like: str | None, res: int) -> Row:
    """Return the row of a detector with the body ``model``, or a detector itself, for images of side ``res``.

    ``like`` names the row with the tokens or the decoder; None is 100 tokens for a ViT, DETR's decoder for a ResNet.
    The row has the grid of its positions. Raise a UserError if there is no such detector.
    """
    row = model if isinstance(model, Row) else add_to_body(model, like)
    if isinstance(row.body, ViTRow) and not row.grid:
        row = replace(row, grid=(grid_side(row.body, res),) * 2)
    return row


def add_to_body(model: Model, like: str | None) -> Row:
    """Return the row of a detector with the body ``model`` and the tokens or the decoder of the row ``like``."""
    if not isinstance(model, ViTRow | Timm):
        why = (
            f"{model.name} is no body of a detector: choose a vision transformer, or a ResNet of timm as timm:resnet50."
        )
        raise UserError(why, option="init")
    row = cast(Row, lookup(load_model_rows(), like or DEFAULT_ROWS[type(model)], "model", "detect.model"))
    grid = row.grid if like else ()
    if isinstance(model, ViTRow):
        check_detects(model)
    elif not row.decoder:
        why = f"has detection tokens, which need a ViT, and {model.name} is a network of timm: choose detr_r50."
        raise UserError(why, option="detect.model", value=like)
    else:
        dilation = row.body.options if isinstance(row.body, Timm) else {}
        model = replace(model, options={**model.options, **dilation})
    names = ("encoder", "decoder", "width", "heads", "mlp", "dropout")
    return name_detector(model, row.tokens, row.mid, grid, **{name: getattr(row, name) for name in names})


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
