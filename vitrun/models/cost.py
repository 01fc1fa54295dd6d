"""Parameters, tokens and multiply-adds of a network, from its row alone."""

import torch

from vitrun.errors import UserError
from vitrun.models.build import build_uninitialized, grid_side
from vitrun.models.resnet import EXPANSION
from vitrun.recipes import BiT, Timm, ViT


def count_parameters(model: ViT | BiT | Timm, classes: int, res: int) -> int:
    """Return the number of parameters of the network for images of side ``res``."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_uninitialized(model, classes, res).parameters())


def count_tokens(model: ViT | BiT | Timm, res: int) -> int | None:
    """Return N, the number of tokens of an image with the class token; None if the network is not a ViT of vitrun."""
    return grid_side(model, res) ** 2 + (model.head == "token") if isinstance(model, ViT) else None


def count_macs(model: ViT | BiT | Timm, classes: int, res: int) -> int:
    """Return the multiply-adds of the matrix products and convolutions in one forward pass of one image."""
    if isinstance(model, Timm):
        return count_timm_macs(model, classes, res)
    if isinstance(model, BiT):
        width = int(64 * model.width_factor)
        products, _, channels = count_resnet_macs(width, model.blocks, res)
        return products + channels * classes
    return count_vit_macs(model, classes, grid_side(model, res), res)


def count_vit_macs(model: ViT, classes: int, grid: int, res: int) -> int:
    """Return the multiply-adds of a ViT; a block takes 4 N D^2 + 2 N^2 D for attention and 2 N D M for the MLP."""
    N, D, M = grid**2 + (model.head == "token"), model.width, model.mlp
    products, channels = 0, 3
    if model.stem:
        products, _, channels = count_resnet_macs(model.stem, model.resnet, res)
    products += grid**2 * model.patch**2 * channels * D
    block = 4 * N * D * D + 2 * N * N * D + 2 * N * D * M
    if model.positions == "relative":
        block += N * (2 * N - 1) * D
    products += model.depth * block
    if model.head == "map":  # one query: its own projection, keys and values, two products, output, MLP
        products += D * D + 2 * N * D * D + 2 * N * D + D * D + 2 * D * M
    return products + (D * D if model.pre_logits else 0) + D * classes


def count_resnet_macs(stem: int, blocks: tuple[int, ...], res: int) -> tuple[int, int, int]:
    """Return the multiply-adds of a bottleneck ResNet, and the side and channels of its last feature map."""
    edge = -(-res // 2)
    products, channels = edge**2 * 7 * 7 * 3 * stem, stem
    edge = -(-edge // 2)
    for stage, units in enumerate(blocks):
        middle = stem * 2**stage
        for unit in range(units):
            before, edge = edge, -(-edge // 2) if stage and unit == 0 else edge
            products += before**2 * channels * middle + edge**2 * (9 * middle + EXPANSION * middle) * middle
            if unit == 0:
                products += edge**2 * channels * EXPANSION * middle
            channels = EXPANSION * middle
    return products, edge, channels


def count_timm_macs(model: Timm, classes: int, res: int) -> int:
    """Return the multiply-adds of a network of timm, counted with one image on the meta device."""
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
