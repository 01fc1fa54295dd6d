"""CLIP (arXiv 2103.00020): an image tower and a text tower, whose features lie in one space."""

from collections.abc import Iterable
from math import log
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.attention import Block
from vitrun.models.clip_resnet import ClipResNet
from vitrun.models.network import Network
from vitrun.models.vit import ViT
from vitrun.recipes import Clip as Row
from vitrun.recipes import TextTower as TextRow

SOFTMAX_SCALE = 1 / 0.07  # of cosines before training (section 2.5)
MAX_SCALE = 100
SIGMOID_SCALE, SIGMOID_BIAS = 10, -10  # of SigLIP (arXiv 2303.15343)


class TextTower(nn.Module):
    """A causal transformer; the feature of a text is that of its end token: [B, N] -> [B, E]."""

    def __init__(self, row: TextRow, features: int):
        super().__init__()
        self.row = row
        self.token_embed = nn.Embedding(row.vocabulary, row.width)
        self.pos_embed = nn.Parameter(torch.empty(1, row.context, row.width))
        self.blocks = nn.ModuleList(Block(row, 0.0, causal=True) for _ in range(row.depth))
        self.norm = nn.LayerNorm(row.width, row.epsilon)
        self.proj = nn.Linear(row.width, features, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, N] of at most ``context``, of which the end token is the largest, to [B, E]."""
        return self.proj(self.pooled(tokens))

    def pooled(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, N] to the normed feature of the first end token, [B, D]."""
        x = self.token_embed(tokens) + self.pos_embed[:, : tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        ends = tokens.argmax(1)  # what follows the end token has no effect, since a token attends to those before it
        return self.norm(x[torch.arange(len(x), device=x.device), ends])


class Clip(Network):
    """Images [B, 3, R, R] and tokens [B, N] -> features of unit length, [B, E] each, and the scale of their cosines.

    ``image`` is the image tower, with a head of no classes; ``text`` the text tower.
    """

    row: Row

    def __init__(self, row: Row, image: ViT | ClipResNet):
        super().__init__()
        self.row, self.image = row, image
        image.head.requires_grad_(False)  # it has no classes
        self.text = TextTower(row.text, row.features)
        # The attention pooling of a ResNet has the width of the features already
        is_vit = isinstance(image, ViT)
        self.image_proj = nn.Linear(image.head.in_features, row.features, bias=False) if is_vit else nn.Identity()
        # the logarithm of the scale; FSDP takes no parameter without axes
        self.logit_scale = nn.Parameter(torch.empty(1))
        if row.logit_bias:
            self.logit_bias = nn.Parameter(torch.empty(1))

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]  # the head of the image tower, which has no classes
        """Return the head of the image tower."""
        return self.image.head

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]  # it needs both
        """Return both features of unit length in float32, [B, E] each, the scale of their products, and any bias.

        The logits of images and texts are ``scale * images @ texts.T + bias``.
        """
        features = self.encode_image(images, normalize=True), self.encode_text(tokens, normalize=True)
        return *features, *self.logit_parameters()

    def logit_parameters(self) -> tuple[Tensor, ...]:
        """Return the scale of the products of features, [], and the bias that is added to them if there is one, []."""
        scale = self.logit_scale.exp()[0]
        return (scale, self.logit_bias[0]) if self.row.logit_bias else (scale,)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Limit the scale to [1, 100], as CLIP does after every update (section 2.5)."""
        self.logit_scale.clamp_(0, log(MAX_SCALE))

    def encode_image(self, images: Tensor, normalize: bool = False) -> Tensor:
        """Map images [B, 3, R, R] to their features in the space of both towers, [B, E]; to unit length if asked."""
        features = self.image_proj(self.image.pooled(images)).float()
        return functional.normalize(features, dim=1) if normalize else features

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Map tokens [B, N] to their features in the space of both towers, [B, E]; to unit length if asked."""
        features = self.text(tokens).float()
        return functional.normalize(features, dim=1) if normalize else features

    def pooled(self, images: Tensor) -> Tensor:
        """Map images [B, 3, R, R] to the features of the image tower before the projection, [B, D]."""
        return self.image.pooled(images)


@torch.no_grad()
def init_clip(network: Clip) -> None:
    """Initialize every weight as OpenAI's code does, but those of a ResNet as image tower."""
    if isinstance(network.image, ViT):
        init_image_tower(network.image)
        nn.init.normal_(cast(nn.Linear, network.image_proj).weight, std=network.image.row.width**-0.5)
    text, row = network.text, network.row.text
    nn.init.normal_(text.token_embed.weight, std=0.02)
    nn.init.normal_(text.pos_embed, std=0.01)
    width, last = row.width**-0.5, row.width**-0.5 * (2 * row.depth) ** -0.5
    for block in cast(Iterable[Block], text.blocks):
        reset_block(block)
        for layer, deviation in (
            (block.attn.qkv, width),
            (block.attn.proj, last),
            (block.mlp.fc1, (2 * row.width) ** -0.5),
            (block.mlp.fc2, last),
        ):
            nn.init.normal_(layer.weight, std=deviation)
    text.norm.reset_parameters()
    nn.init.normal_(text.proj.weight, std=width)
    nn.init.constant_(network.logit_scale, log(SIGMOID_SCALE if network.row.logit_bias else SOFTMAX_SCALE))
    if network.row.logit_bias:
        nn.init.constant_(network.logit_bias, SIGMOID_BIAS)


def init_image_tower(tower: ViT) -> None:
    """Initialize a ViT: torch's defaults, and tokens and positions with the deviation D^-0.5."""
    tower.patch_embed.proj.reset_parameters()
    for name, table in tower.named_parameters(recurse=False):
        if name.startswith(("pos_embed", "cls_token")):
            nn.init.normal_(table, std=tower.row.width**-0.5)
    for module in tower.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, Block):
            reset_block(module)


def reset_block(block: Block) -> None:
    """Initialize a block as ``nn.MultiheadAttention`` and ``nn.Linear`` are by default."""
    for module in block.modules():
        if isinstance(module, nn.LayerNorm | nn.Linear):
            module.reset_parameters()
    nn.init.xavier_uniform_(block.attn.qkv.weight)
    nn.init.zeros_(block.attn.qkv.bias)
    nn.init.zeros_(block.attn.proj.bias)
