"""Multiply-adds of a network, computed from its row alone."""

from vitrun.recipes.model import BiT, Clip, ClipResNet, IGpt, ResNet, TextTower, ViT
from vitrun.recipes.model_limits import EXPANSION


def count_macs(model: ViT | BiT | ClipResNet | Clip | IGpt | ResNet, classes: int, res: int) -> int:
    """Return the multiply-adds of the matrix products and convolutions in one forward pass of one image.

    Those of a CLIP are of an image and a text. Raise an OptionError if the tokens of a ViT do not tile images of side
    ``res``.
    """
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
    """Return the exaFLOP of training on so many images: two for each multiply-add, the backward pass as two forward."""
    return 6 * macs * images / 1e18
