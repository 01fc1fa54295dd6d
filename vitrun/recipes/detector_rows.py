"""Rows of detectors that the table of models lacks: those of any body, with the tokens or the decoder of a row."""

from dataclasses import replace
from typing import Any, cast

from vitrun.errors import UserError, lookup
from vitrun.recipes.model import Detector, Model, Timm, ViT, check_detects
from vitrun.recipes.tables import load_model_rows

# Values of a detector's row that its tensors may not give: those of DETR, without encoder and decoder
DETECTOR: dict[str, Any] = dict(kind="detector", encoder=0, decoder=0, width=256, heads=8, mlp=2048, dropout=0.1)
DEFAULT_ROWS = {ViT: "yolos_ti", Timm: "detr_r50"}  # whose tokens or decoder a body gets, without its grid


def make_detector_row(model: Model, like: str | None, res: int) -> Detector:
    """Return the row of a detector with the body ``model``, or a detector itself, for images of side ``res``.

    ``like`` names the row with the tokens or the decoder; None is 100 tokens for a ViT, DETR's decoder for a ResNet.
    The row has the grid of its positions. Raise a UserError or an OptionError if there is no such detector.
    """
    row = model if isinstance(model, Detector) else add_to_body(model, like)
    if isinstance(row.body, ViT) and not row.grid:
        row.check_resolution(res)
        row = replace(row, grid=(res // row.stride,) * 2)
    return row


def add_to_body(model: Model, like: str | None) -> Detector:
    """Return the row of a detector with the body ``model`` and the tokens or the decoder of the row ``like``."""
    if not isinstance(model, ViT | Timm):
        way_out = "choose a vision transformer, or a ResNet of timm as timm:resnet50."
        why = f"{model.name} cannot be the body of a detector: {way_out}"
        raise UserError(why, option="init")
    row = cast(Detector, lookup(load_model_rows(), like or DEFAULT_ROWS[type(model)], "model", "detect.model"))
    grid = row.grid if like else ()
    if isinstance(model, ViT):
        check_detects(model)
    elif not row.decoder:
        why = f"has detection tokens, which need a ViT, and {model.name} is a network of timm: choose detr_r50."
        raise UserError(why, option="detect.model", value=like)
    else:
        dilation = row.body.options if isinstance(row.body, Timm) else {}
        model = replace(model, options={**model.options, **dilation})
    names = ("encoder", "decoder", "width", "heads", "mlp", "dropout")
    return name_detector(model, row.tokens, row.mid, grid, **{name: getattr(row, name) for name in names})


def name_detector(
    body: ViT | Timm, tokens: int, mid: bool = False, grid: tuple[int, ...] = (), **transformer: Any
) -> Detector:
    """Return the row of a detector, named as the one in the table that differs in nothing but grid and dropout."""
    model = Detector(name="", body=body, tokens=tokens, mid=mid, grid=grid, **{**DETECTOR, **transformer})
    for row in load_model_rows().values():
        if isinstance(row, Detector) and shape_of(row) == shape_of(model):
            return replace(model, name=row.name)
    return replace(model, name=f"{'detr' if model.decoder else 'yolos'}_{body.name}")


def shape_of(model: Detector) -> tuple[object, ...]:
    """Return what a detector is identified by."""
    transformer = (model.encoder, model.width, model.heads, model.mlp) if model.decoder else ()
    body = model.body
    if isinstance(body, ViT):
        return model.tokens, model.mid, model.decoder, *transformer, body.patch, body.width, body.depth, body.heads
    return model.tokens, model.decoder, *transformer, body.name, tuple(body.options.items())
