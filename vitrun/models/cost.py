"""Parameters, tokens and multiply-adds of a network, from its row alone."""

import torch

from vitrun.errors import UserError
from vitrun.models.build import build_uninitialized, grid_side
from vitrun.recipes import Clip, Detector, IGpt, Model, Timm, ViT, macs


def count_parameters(model: Model, classes: int, res: int) -> int:
    """Return the number of parameters of the network for images of side ``res``."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_uninitialized(model, classes, res).parameters())


def count_tokens(model: Model, res: int) -> int | None:
    """Return N, the number of tokens of an image, with class and detection tokens; None if it has none of vitrun."""
    model, more = (model.body, model.tokens) if isinstance(model, Detector) else (model, 0)
    model = model.image if isinstance(model, Clip) else model
    if isinstance(model, IGpt):
        return res**2
    return grid_side(model, res) ** 2 + (model.head == "token") + more if isinstance(model, ViT) else None


def count_macs(model: Model, classes: int, res: int) -> int:
    """Return the multiply-adds of the matrix products and convolutions in one forward pass of one image."""
    if isinstance(model, Timm) or isinstance(model, Detector) and isinstance(model.body, Timm):
        return measure_macs(model, classes, res)
    return macs.count_macs(model, classes, res)


def measure_macs(model: Timm | Detector, classes: int, res: int) -> int:
    """Return the multiply-adds of a network of timm, or of a detector with one, counted on the meta device."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = build_uninitialized(model, classes, res).eval().requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            try:
                network(torch.empty(1, 3, res, res))
            except RuntimeError as error:
                raise UserError(
                    f"{model.name} does not take images of this size: {error}", option="res", value=str(res)
                ) from error
    return counter.get_total_flops() // 2
