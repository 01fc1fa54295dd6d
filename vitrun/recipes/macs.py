"""Multiply-adds of a network, computed from its row alone."""

from dataclasses import replace
from typing import TypeGuard

from vitrun.recipes.model import BiT, Clip, ClipResNet, Detector, IGpt, Model, ResNet, TextTower, ViT
from vitrun.recipes.model_limits import EXPANSION

Countable = ViT | BiT | IGpt | ResNet | Detector


def is_countable(model: Model | None) -> TypeGuard[Countable]:
    """Return whether the cost of training a network is known from its row: not if it is timm's, or has two towers."""
    if isinstance(model, Detector):
        return isinstance(model.body, ViT)
    return isinstance(model, ViT | BiT | IGpt | ResNet)


def count_macs(model: ViT | BiT | ClipResNet | Clip | IGpt | ResNet | Detector, classes: int, res: int) -> int:
    """Return the multiply-adds of the matrix products and convolutions in one forward pass of one image.

    Those of a CLIP are of an image and a text; those of a detector are known here if its body is a ViT. Raise an
    OptionError if the tokens of a ViT do not tile images of side ``res``.
    """
    if isinstance(model, Detector):
        model.check_resolution(res)
        return count_detector_macs(model, classes, res)
    if isinstance(model, Clip):
        projection = model.image.width * model.features if isinstance(model.image, ViT) else 0
        return count_macs(model.image, 0, res) + projection + count_text_macs(model.text, model.features)
    if isinstance(model, ClipResNet):
        model.check_resolution(res)
        return count_clip_resnet_macs(model, res) + model.features * classes
    if isinstance(model, BiT):
        width = int(64 * model.width_factor)
        products, _, channels = count_resnet_macs(width, model.blocks, res)
        return products + channels * classes
    model.check_resolution(res)
    if isinstance(model, ResNet):
        return count_attention_resnet_macs(model, classes, res)
    return count_igpt_macs(model, classes, res) if isinstance(model, IGpt) else count_vit_macs(model, classes, res)


def count_attention_resnet_macs(model: ResNet, classes: int, res: int) -> int:
    """Return the multiply-adds of a ResNet with batch norm, with those of its attention as the papers count them."""
    half = -(-res // 2)
    side = res if model.stem == "small" else -(-half // 2)
    channels = model.stem_channels
    stems = {
        "small": res**2 * 27 * channels,
        "conv": half**2 * 147 * channels,
        "attention": res**2 * (6 * 3 * channels + 3 * 16 * channels),  # six projections, blocks of 16 pixels
    }
    products = stems[model.stem]
    for stage, units in enumerate(model.blocks):
        width, attention = model.width * 2**stage, stage >= len(model.blocks) - model.stages
        out = width * model.expansion
        for unit in range(units):
            before, side = side, -(-side // 2) if stage and unit == 0 else side
            entering = width if model.block == "bottleneck" else channels
            products += count_spatial_macs(model, entering, width, (before, side), attention)
            if model.block == "bottleneck":
                products += before**2 * channels * width + side**2 * width * out
            else:
                products += side**2 * 9 * width * out
            if channels != out or side != before:
                products += side**2 * channels * out
            channels = out
    return products + channels * classes


def count_spatial_macs(model: ResNet, channels: int, out: int, sides: tuple[int, int], attention: bool) -> int:
    """Return the multiply-adds of a 3x3 convolution from one side of its map to another, or of its attention."""
    before, side = sides
    if not attention or model.attention == "none":
        return side**2 * 9 * channels * out
    if model.attention == "alone":  # at stride 1: three projections; content, positions and values of a window
        return before**2 * (3 * channels * out + 3 * model.window**2 * out)
    key, value = model.augmented_channels(out)
    edge = -(-side // 2) if model.pools(side) else side
    places = edge**2
    mixed = places * channels * (2 * key + value) + places**2 * (key + value) + places * (2 * edge * key + value**2)
    return side**2 * 9 * channels * (out - value) + mixed


def count_igpt_macs(model: IGpt, classes: int, res: int) -> int:
    """Return the multiply-adds of an ImageGPT that classifies; attention is counted as of all pixels to all."""
    N, D = res**2, model.width
    block = 4 * N * D * D + 2 * N * N * D + 2 * N * D * model.mlp
    return model.depth * block + D * classes


def count_vit_macs(model: ViT, classes: int, res: int) -> int:
    """Return the multiply-adds of a ViT; a block takes 4 N D^2 + 2 N^2 D for attention and 2 N D M for the MLP."""
    grid = res // model.stride
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


def count_detector_macs(model: Detector, classes: int, res: int) -> int:
    """Return the multiply-adds of a detector on a ViT, whose last block computes the detection tokens alone."""
    body, Q = model.body, model.tokens
    assert isinstance(body, ViT)
    grid = res // body.stride
    own, D = grid**2 + (body.head == "token"), body.width
    plain = replace(body, head="token" if body.head == "token" else "gap", positions="none", pre_logits=False)
    embedding = count_vit_macs(replace(plain, depth=1), 0, res) - count_block_macs(own, own, D, body.mlp)
    if not model.decoder:
        last = count_block_macs(Q, own + Q, D, body.mlp)
        blocks = (body.depth - 1) * count_block_macs(own + Q, own + Q, D, body.mlp) + last
        return embedding + blocks + count_head_macs(Q, D, classes) + 2 * Q * D * D
    N, width = grid**2, model.width
    decoder = count_block_macs(Q, Q, width, 0) + count_block_macs(Q, N, width, model.mlp)
    decoder += count_head_macs(Q, width, classes)
    encoder = N * D * width + model.encoder * count_block_macs(N, N, width, model.mlp)
    return embedding + body.depth * count_block_macs(own, own, D, body.mlp) + encoder + model.decoder * decoder


def count_block_macs(queries: int, keys: int, width: int, mlp: int) -> int:
    """Return the multiply-adds of attention to that many keys, and of an MLP, for that many tokens."""
    return 2 * (queries + keys) * width**2 + 2 * queries * keys * width + 2 * queries * width * mlp


def count_head_macs(queries: int, width: int, classes: int) -> int:
    """Return the multiply-adds of a detector's last layer of classes, and of its three layers of boxes."""
    return queries * width * (classes + 1 + 2 * width + 4)


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


def count_text_macs(model: TextTower, features: int) -> int:
    """Return the multiply-adds of a text tower for a text that fills its context."""
    N, D, M = model.context, model.width, model.mlp
    return model.depth * (4 * N * D * D + 2 * N * N * D + 2 * N * D * M) + D * features


def count_clip_resnet_macs(model: ClipResNet, res: int) -> int:
    """Return the multiply-adds of CLIP's ResNet: its stem, its units and its attention pooling."""
    half, edge, width = res // 2, res // 4, model.width
    products = half**2 * 9 * (3 * width // 2 + width**2 // 4 + width**2 // 2)
    channels = width
    for stage, units in enumerate(model.blocks):
        middle = width * 2**stage
        for unit in range(units):
            before, edge = edge, edge // 2 if stage and unit == 0 else edge
            products += before**2 * (channels + 9 * middle) * middle + edge**2 * EXPANSION * middle**2
            if unit == 0:
                products += edge**2 * channels * EXPANSION * middle
            channels = EXPANSION * middle
    tokens = 1 + edge**2
    query, keys_and_values, attention = channels**2, 2 * tokens * channels**2, 2 * tokens * channels
    return products + query + keys_and_values + attention + channels * model.features


def count_exaflop(macs: int, images: int) -> float:
    """Return the exaFLOP of training on that many images: two per multiply-add, a backward pass as two forward."""
    return 6 * macs * images / 1e18
