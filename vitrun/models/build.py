"""Build the network of a row of the model table, with weights initialized as published."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from typing import Any, cast

import torch
from torch import Tensor, nn

from vitrun.errors import UserError
from vitrun.models.attention import Attention, AttentionPool, Mlp
from vitrun.models.attention_resnet import AttentionResNet, init_attention_resnet
from vitrun.models.clip import Clip, init_clip
from vitrun.models.clip_resnet import ClipResNet, init_clip_resnet
from vitrun.models.detector import Detector, TokenViT, construct_detector, init_heads
from vitrun.models.igpt import IGpt, init_pixels
from vitrun.models.network import Network
from vitrun.models.resnet import BiT, PostActBottleneck
from vitrun.models.timm_wrapper import check_patches, wrap_timm_network
from vitrun.models.vit import ViT, fixed_positions
from vitrun.recipes import BiT as BiTRow
from vitrun.recipes import Clip as ClipRow
from vitrun.recipes import ClipResNet as ClipResNetRow
from vitrun.recipes import Detector as DetectorRow
from vitrun.recipes import IGpt as IGptRow
from vitrun.recipes import Model
from vitrun.recipes import ResNet as ResNetRow
from vitrun.recipes import Timm as TimmRow
from vitrun.recipes import ViT as ViTRow


def build(model: Model, classes: int, res: int, head_bias: float = 0.0) -> Network:
    """Return a network [B, 3, res, res] -> [B, classes], initialized as published from torch's global generator.

    ``network.head`` is its last nn.Linear, with weights 0 and every bias ``head_bias``; ``network.features(images)``
    is the input of the head, [B, D] in float32. A CLIP has no classes: its head, of the image tower, has none. A
    detector has one more output, and its head random weights. Under ``torch.device("meta")`` no weights are made.
    """
    network = build_uninitialized(model, classes, res)
    device = torch.get_default_device()
    if device.type == "meta":
        return network
    if isinstance(network, Detector):
        init_detector(network)
        return network
    if not isinstance(model, TimmRow):
        network.to_empty(device=device)
        INITIALIZERS.get(type(network), init_weights)(network)
    nn.init.zeros_(network.head.weight)
    nn.init.constant_(network.head.bias, head_bias)
    return network


def build_uninitialized(model: Model, classes: int, res: int) -> Network:
    """Return a network, unless it is timm's on the meta device. Raise a UserError if ``res`` does not fit."""
    if isinstance(model, TimmRow):
        return wrap_timm_network(model, classes, res)
    if isinstance(model, DetectorRow):
        return construct_detector(model, classes, res)
    with torch.device("meta"):
        if isinstance(model, ClipRow):
            return Clip(model, cast(ViT | ClipResNet, build_uninitialized(model.image, 0, res)))
        if isinstance(model, BiTRow):
            return BiT(model, classes)
        network = {ClipResNetRow: ClipResNet, IGptRow: IGpt, ResNetRow: AttentionResNet}.get(type(model), ViT)
        return network(model, classes, grid_side(model, res))


def select_image_row(model: ClipRow) -> ViTRow | ClipResNetRow:
    """Return the row of the image tower of a CLIP alone, as fine-tuning has it."""
    return replace(model.image, name=f"{model.name}_image")


def check_model(model: Model, res: int) -> None:
    """Raise a UserError if there is no such network, or if it takes no images of side ``res``. No weights are made."""
    if isinstance(model, ViTRow | ClipResNetRow | ClipRow | IGptRow | ResNetRow | DetectorRow):
        model.check_resolution(res)
    if isinstance(model, TimmRow):
        with torch.device("meta"):
            network = wrap_timm_network(model, 1, res).eval().requires_grad_(False)
            check_patches(network, res)
            try:
                network(torch.empty(1, 3, res, res))
            except (AssertionError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"{model.name} does not take images of this size: {error}", option="res", value=str(res)
                ) from error


def token_stride(model: Model) -> int:
    """Return the side of a token in pixels, which must divide the resolution of a ViT.

    Networks without tokens take any resolution: 32 is the stride of BiT and of the baselines of timm in the table.
    """
    model = model.image if isinstance(model, ClipRow) else model
    model = model.body if isinstance(model, DetectorRow) else model
    return model.stride if isinstance(model, ViTRow) else 32


def grid_side(model: ViTRow | ClipResNetRow | IGptRow | ResNetRow, res: int) -> int:
    """Return the number of patches along an image's side. Raise a UserError if it is not a whole number."""
    model.check_resolution(res)
    return res // model.stride


@torch.no_grad()
def init_weights(network: nn.Module) -> None:
    """Initialize every weight as published (flax's defaults, vit_jax/models_vit.py, big_vision/models)."""
    for module in network.modules():
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            module.reset_parameters()
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            lecun_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():  # exceptions to flax's defaults
        if isinstance(module, (Attention, AttentionPool, Mlp)):
            init_dense(module)
        elif isinstance(module, PostActBottleneck):
            nn.init.zeros_(module.norm3.weight)
    if isinstance(network, ViT):
        init_tokens(network)


def init_clip_weights(network: nn.Module) -> None:
    """Initialize every weight of a CLIP as OpenAI's code does."""
    network = cast(Clip, network)
    if isinstance(network.image, ClipResNet):
        init_clip_resnet(network.image)
    init_clip(network)


def init_detector(network: Detector) -> None:
    """Initialize a detector: its ViT as any, what it adds as published. A body of timm is initialized already."""
    if isinstance(network.body, TokenViT):
        init_weights(network.body)
    init_heads(network)


INITIALIZERS: dict[type[nn.Module], Callable[[Any], None]] = {
    Clip: init_clip_weights,
    ClipResNet: init_clip_resnet,
    IGpt: init_pixels,
    AttentionResNet: init_attention_resnet,
}


def lecun_normal_(weight: Tensor) -> None:
    """Fill with a normal truncated at two deviations and scaled to the variance 1/fan_in (flax's ``lecun_normal``)."""
    deviation = sqrt(1 / weight.shape[1:].numel()) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def init_dense(module: nn.Module) -> None:
    """Initialize kernels Xavier-uniform, queries, keys and values separately, and MLP biases with deviation 1e-6."""
    for name, layer in module.named_children():
        if not isinstance(layer, nn.Linear):
            continue
        for part in layer.weight.split(layer.in_features) if name in ("qkv", "kv") else [layer.weight]:
            nn.init.xavier_uniform_(part)
        if isinstance(module, Mlp):
            nn.init.normal_(layer.bias, std=1e-6)


def init_tokens(network: ViT) -> None:
    """Initialize the class token with 0, learned positions with deviation 0.02 and a MAP query Xavier-uniform."""
    if network.prefix:
        nn.init.zeros_(network.cls_token)
    if network.row.head == "map":
        nn.init.xavier_uniform_(network.attn_pool.latent[0])
    if network.row.positions == "sincos2d":
        network.pos_embed.copy_(fixed_positions(network.row, network.side))
    for name, table in network.named_parameters(recurse=False):
        if name.startswith("pos_embed"):
            nn.init.normal_(table, std=0.02)
