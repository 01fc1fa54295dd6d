"""ResNets with batch norm, whose 3x3 convolutions may have attention beside them, or be replaced by it.

The plain networks are those of arXiv 1512.03385, with the stride in the 3x3 convolution, and wide ones of arXiv
1605.07146. Modules are named as in timm's ``ResNet``.
"""

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.grid_attention import AttentionStem, AugmentedConv
from vitrun.models.network import Network, lay_out_images
from vitrun.models.noise import SkippedBlock, set_noise
from vitrun.models.vit import Head
from vitrun.models.window_attention import WindowAttention
from vitrun.recipes import ResNet as Row

STEM_HEADS = 4  # of an attention stem (arXiv 1906.05909, appendix A.1)


class AttentionResNet(Network):
    """[B, 3, R, R] -> logits [B, C]."""

    row: Row

    def __init__(self, row: Row, classes: int, res: int):
        super().__init__()
        self.row = row
        if row.stem == "attention":
            self.stem: nn.Module = AttentionStem(row.width, STEM_HEADS)
        else:
            self.stem = ConvStem(row)
        side = res if row.stem == "small" else ceil(ceil(res / 2) / 2)
        channels = row.stem_channels
        self.stages = nn.ModuleList()
        for number, depth in enumerate(row.blocks):
            stride, side = (2, ceil(side / 2)) if number else (1, side)
            width, attention = row.width * 2**number, number >= len(row.blocks) - row.stages
            units = []
            for unit in range(depth):
                units.append(BLOCKS[row.block](row, channels, width, stride if unit == 0 else 1, side, attention))
                channels = width * row.expansion
            self.stages.append(nn.Sequential(*units))
        self.norm = nn.BatchNorm2d(channels) if row.block == "wide" else nn.Identity()
        self.dropout = nn.Dropout(row.dropout)
        self.head = Head(channels, classes)
        set_noise(self, row)

    def pooled(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D]."""
        x = self.stem(lay_out_images(images))
        for stage in self.stages:
            x = stage(x)
        if self.row.block == "wide":
            x = self.norm(x).relu()
        return self.dropout(x.mean((2, 3)))


class ConvStem(nn.Module):
    """The 7x7 convolution and 3x3 max-pool of the image, each with stride 2; for small images a 3x3 convolution."""

    def __init__(self, row: Row):
        super().__init__()
        self.small, self.wide = row.stem == "small", row.block == "wide"
        kernel, stride = (3, 1) if self.small else (7, 2)
        self.conv = nn.Conv2d(3, row.stem_channels, kernel, stride, kernel // 2, bias=False)
        if not self.wide:  # whose blocks begin with a norm
            self.norm = nn.BatchNorm2d(row.stem_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, F, R/4, R/4], or to [B, F, R, R] for small images."""
        x = self.conv(images)
        if not self.wide:
            x = self.norm(x).relu()
        return x if self.small else functional.max_pool2d(x, 3, 2, 1)


class Shortcut(nn.Sequential):
    """The 1x1 convolution and norm that give a block's input the shape of its output."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class BasicBlock(SkippedBlock):
    """Two 3x3 convolutions, each with a norm after it; the first may have attention beside it."""

    def __init__(self, row: Row, channels: int, width: int, stride: int, side: int, attention: bool):
        super().__init__()
        self.conv1 = build_conv(row, channels, width, stride, side, attention)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = Shortcut(channels, width, stride) if stride > 1 or channels != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, F, h, w] to [B, F', h/stride, w/stride]."""
        branch = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (self.drop_path(branch) + self.shortcut(x)).relu()


class Bottleneck(SkippedBlock):
    """1x1, 3x3 and 1x1 convolutions, each with a norm after it; attention is beside or in place of the 3x3."""

    def __init__(self, row: Row, channels: int, width: int, stride: int, side: int, attention: bool):
        super().__init__()
        out = width * row.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = build_conv(row, width, width, stride, side, attention)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out)
        self.shortcut = Shortcut(channels, out, stride) if stride > 1 or channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, F, h, w] to [B, F', h/stride, w/stride]."""
        branch = self.norm1(self.conv1(x)).relu()
        branch = self.norm2(self.conv2(branch)).relu()
        return (self.drop_path(self.norm3(self.conv3(branch))) + self.shortcut(x)).relu()


class WideBlock(SkippedBlock):
    """Two 3x3 convolutions, each with a norm before it (arXiv 1605.07146); the first may have attention beside it."""

    def __init__(self, row: Row, channels: int, width: int, stride: int, side: int, attention: bool):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = build_conv(row, channels, width, stride, side, attention)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False) if channels != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, F, h, w] to [B, F', h/stride, w/stride]."""
        normed = self.norm1(x).relu()
        branch = self.conv2(self.norm2(self.conv1(normed)).relu())
        return self.drop_path(branch) + (x if isinstance(self.shortcut, nn.Identity) else self.shortcut(normed))


BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck, "wide": WideBlock}


def build_conv(row: Row, channels: int, out: int, stride: int, side: int, attention: bool) -> nn.Module:
    """Return a 3x3 convolution whose output has this ``side``, with ``attention`` beside it or attention instead."""
    if not attention or row.attention == "none":
        return nn.Conv2d(channels, out, 3, stride, 1, bias=False)
    if row.attention == "alone":
        window = WindowAttention(channels, out, row.window, row.heads, row.border)
        return window if stride == 1 else nn.Sequential(window, nn.AvgPool2d(2, 2, ceil_mode=True))
    key, value = row.augmented_channels(out)
    pool = row.pools(side)
    return AugmentedConv(channels, out, stride, side, heads=row.heads, key=key, value=value, pool=pool)


@torch.no_grad()
def init_attention_resnet(network: AttentionResNet) -> None:
    """Initialize convolutions normal by fan-out (He), tables of positions normal, and the last norm of a block 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif isinstance(module, (AugmentedConv, WindowAttention)):
            init_tables(module.relative_rows, module.relative_columns)
        elif isinstance(module, AttentionStem):
            init_tables(module.row_embed, module.column_embed, module.mixture)
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.norm3.weight)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.norm2.weight)


def init_tables(*tables: Tensor) -> None:
    """Initialize tables [n, d] of positions normal, with standard deviation d^-1/2."""
    for table in tables:
        nn.init.normal_(table, std=table.shape[1] ** -0.5)
