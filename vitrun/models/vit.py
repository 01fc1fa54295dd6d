"""The vision transformer of arXiv 2010.11929 (section 3.1), with the module names of timm's ``VisionTransformer``."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.attention import AttentionPool, Block
from vitrun.models.network import Network
from vitrun.models.noise import list_skips
from vitrun.models.positions import sincos2d
from vitrun.models.resnet import ResNet
from vitrun.recipes import ViT as Row


class PatchEmbed(nn.Module):
    """Embed patches of the image as tokens; in a hybrid, patches of a ResNet's feature map."""

    def __init__(self, row: Row):
        super().__init__()
        self.backbone = ResNet(row.stem, row.resnet) if row.stem else None
        channels = self.backbone.channels if self.backbone else 3
        # No bias before a norm, as in CLIP and timm
        self.proj = nn.Conv2d(channels, row.width, row.patch, row.patch, bias=not row.norm_pre)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, N-P, D], row by row from the top left."""
        maps = images if self.backbone is None else self.backbone(images)
        return self.proj(maps).flatten(2).transpose(1, 2)


class Head(nn.Linear):
    """The last layer, which may have no classes: torch's initialization would warn about that."""

    def reset_parameters(self) -> None:
        """Do nothing: :func:`build` initializes the weights."""


class ViT(Network):
    """[B, 3, R, R] -> logits [B, C]; ``side`` is the number of patches along an edge of the image."""

    row: Row
    pos_embed: Tensor

    def __init__(self, row: Row, classes: int, side: int):
        super().__init__()
        self.row, self.side = row, side
        self.prefix = int(row.head == "token")  # P: one class token, or none
        self.patch_embed = PatchEmbed(row)
        if self.prefix:
            self.cls_token = nn.Parameter(torch.empty(1, 1, row.width))
        self.add_positions()
        self.dropout = nn.Dropout(row.dropout)
        if row.norm_pre:
            self.norm_pre = nn.LayerNorm(row.width, row.epsilon)
        skips = list_skips(row.stochastic_depth, row.depth)
        self.blocks = nn.ModuleList(Block(row, skip) for skip in skips)
        self.norm = nn.LayerNorm(row.width, row.epsilon)
        if row.head == "map":
            self.attn_pool = AttentionPool(row)
        if row.pre_logits:
            self.pre_logits = nn.Linear(row.width, row.width)
        self.head = Head(row.width, classes)

    def add_positions(self) -> None:
        """Add the position tables of ``row.positions``: one per layer (L) if ``positions_at`` is "every", else one."""
        row, tokens = self.row, self.prefix + self.side**2
        layers = row.depth if row.positions_at == "every" else 1
        if row.positions == "learned":
            self.pos_embed = nn.Parameter(torch.empty(layers, tokens, row.width))
        elif row.positions == "relative":
            self.pos_embed = nn.Parameter(torch.empty(layers, 2 * tokens - 1, row.width))
        elif row.positions == "2d":
            self.pos_embed_class = nn.Parameter(torch.empty(layers, self.prefix, row.width))
            self.pos_embed_x = nn.Parameter(torch.empty(layers, self.side, row.width // 2))
            self.pos_embed_y = nn.Parameter(torch.empty(layers, self.side, row.width // 2))
        elif row.positions == "sincos2d":
            self.register_buffer("pos_embed", torch.empty(1, tokens, row.width))

    def positions(self) -> Tensor | None:
        """Return the table that is added to the tokens, [1 or L, N, D]; None if there is none."""
        if self.row.positions in ("none", "relative"):
            return None
        if self.row.positions != "2d":
            return self.pos_embed
        x = self.pos_embed_x[:, None].expand(-1, self.side, -1, -1)  # [L, side, side, D/2]
        y = self.pos_embed_y[:, :, None].expand(-1, -1, self.side, -1)
        return torch.cat([self.pos_embed_class, torch.cat([x, y], 3).flatten(1, 2)], 1)

    def pooled(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D]."""
        x = self.embed(images)
        for layer in range(self.row.depth - 1):
            x = self.run_layer(layer, x)
        # Only the class token of the last layer is used. Training and bf16 do not compute the others, which is 7 %
        # faster (12 layers); float32 evaluation does, so that its bits stay the same.
        device = images.device.type
        skips = self.training or torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        class_token_only = skips and self.row.head == "token"
        x = self.run_layer(self.row.depth - 1, x, outputs=1 if class_token_only else None)
        if self.row.head == "token":
            x = self.norm(x[:, 0])
        elif self.row.head == "gap":
            x = self.norm(x).mean(1)  # as in the published code; timm applies the norm after pooling
        else:
            x = self.attn_pool(self.norm(x))
        return torch.tanh(self.pre_logits(x)) if self.row.pre_logits else x

    def embed(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to the input of the first layer, [B, N, D]."""
        return self.prepare_tokens(self.patch_embed(images))

    def prepare_tokens(self, x: Tensor) -> Tensor:
        """Prepend the class token, add positions and normalise: [B, N-P, D] -> [B, N, D]."""
        if self.prefix:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        if self.row.positions_at == "stem" and (table := self.positions()) is not None:
            x = x + table
        x = self.dropout(x)
        return self.norm_pre(x) if self.row.norm_pre else x

    def run_layer(self, layer: int, x: Tensor, outputs: int | None = None) -> Tensor:
        """Apply a layer: [B, N, D] -> [B, N, D], or only the first ``outputs`` tokens of the result."""
        return self.blocks[layer](self.add_layer_positions(layer, x), self.relative_table(layer), outputs)

    def add_layer_positions(self, layer: int, x: Tensor) -> Tensor:
        """Add the positions of a layer, its own or shared ones, to [B, N, D], unless they were added at the stem."""
        if self.row.positions_at == "stem" or (table := self.positions()) is None:
            return x
        return x + (table[layer] if len(table) > 1 else table[0])

    def relative_table(self, layer: int) -> Tensor | None:
        """Return the layer's table of relative positions [2N-1, D]; None if it has none."""
        if self.row.positions != "relative":
            return None
        return self.pos_embed[layer] if len(self.pos_embed) > 1 else self.pos_embed[0]


def fixed_positions(row: Row, side: int) -> Tensor:
    """Return the table [1, N, D] of sines and cosines, 0 for the class token (big_vision/models/vit.py)."""
    return functional.pad(sincos2d(side, row.width), (0, 0, int(row.head == "token"), 0))
